// One load for two stores, so that what is compared is the stores: puts or strong gets of one size on random keys, so many in flight, for so long.
//
//	floor etcd|dynamo put|get|fill IN-FLIGHT SECONDS VALUE-BYTES KEYS ENDPOINT...
//
// In flight are as many as there are; each sends its next request when its last is answered. Of DynamoDB's API each has a connection of its own, the
// connections over the endpoints in turn (HTTP/1.1 answers one request of a connection after another); etcd's clients share a connection among sixteen, as gRPC
// is meant to be used. `fill` writes each key once. Prints one JSON object. Nothing counts that is asked in the first second or answered after the end.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	warmUp       = time.Second
	aConnection  = 16
	authorized   = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature="
	noSignature  = "0000000000000000000000000000000000000000000000000000000000000000"
	table        = "floor"
	waitedAtMost = 20 * time.Second
)

// A store as one of those in flight sees it. An error is an answer that is none.
type store interface {
	put(key string, value string) error
	get(key string) error
}

type etcd struct{ client *clientv3.Client }

func (e etcd) put(key, value string) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitedAtMost)
	defer cancel()
	_, err := e.client.Put(ctx, key, value)
	return err
}

func (e etcd) get(key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitedAtMost)
	defer cancel()
	found, err := e.client.Get(ctx, key) // linearizable unless asked otherwise
	if err == nil && len(found.Kvs) != 1 {
		err = fmt.Errorf("%s is not there", key)
	}
	return err
}

type dynamo struct {
	host    string
	conn    net.Conn
	answers *bufio.Reader
}

func (d *dynamo) ask(operation, body string) (string, error) {
	head := "POST / HTTP/1.1\r\nHost: " + d.host + "\r\nX-Amz-Target: DynamoDB_20120810." + operation +
		"\r\nX-Amz-Date: 20260101T000000Z\r\nContent-Type: application/x-amz-json-1.0\r\nAuthorization: " + authorized + noSignature +
		"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	if err := d.conn.SetDeadline(time.Now().Add(waitedAtMost)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(d.conn, head+body); err != nil {
		return "", err
	}
	answer, err := http.ReadResponse(d.answers, nil)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, said)
	}
	return string(said), err
}

func (d *dynamo) put(key, value string) error {
	_, err := d.ask("PutItem", `{"TableName":"`+table+`","Item":{"k":{"S":"`+key+`"},"v":{"S":"`+value+`"}}}`)
	return err
}

func (d *dynamo) get(key string) error {
	said, err := d.ask("GetItem", `{"TableName":"`+table+`","Key":{"k":{"S":"`+key+`"}},"ConsistentRead":true}`)
	if err == nil && !strings.Contains(said, `"Item"`) {
		err = fmt.Errorf("%s is not there", key)
	}
	return err
}

func main() {
	if len(os.Args) < 8 {
		fmt.Fprintln(os.Stderr, "floor etcd|dynamo put|get|fill IN-FLIGHT SECONDS VALUE-BYTES KEYS ENDPOINT...")
		os.Exit(4)
	}
	kind, verb, endpoints := os.Args[1], os.Args[2], os.Args[7:]
	inFlight, seconds, valueBytes, keys := number(3), number(4), number(5), number(6)
	stores := connect(kind, inFlight, endpoints)
	value := strings.Repeat("x", valueBytes)
	began := time.Now()
	counted, until := began.Add(warmUp), began.Add(warmUp+time.Duration(seconds)*time.Second)
	took := make([][]time.Duration, inFlight)
	var errors, filled atomic.Int64
	var sample atomic.Value
	var all sync.WaitGroup
	for at := range inFlight {
		all.Go(func() {
			random := rand.New(rand.NewSource(int64(at)))
			for {
				key, sent := fmt.Sprintf("key%08d", random.Intn(keys)), time.Now()
				if verb == "fill" {
					next := int(filled.Add(1)) - 1
					if next >= keys {
						return
					}
					key = fmt.Sprintf("key%08d", next)
				} else if !sent.Before(until) {
					return
				}
				var err error
				if verb == "get" {
					err = stores[at].get(key)
				} else {
					err = stores[at].put(key, value)
				}
				answered := time.Now()
				if err != nil {
					errors.Add(1)
					sample.Store(err.Error())
					if verb == "fill" {
						return
					}
				} else if verb != "fill" && !sent.Before(counted) && !answered.After(until) {
					took[at] = append(took[at], answered.Sub(sent))
				}
			}
		})
	}
	all.Wait()
	every := slices.Concat(took...)
	slices.Sort(every)
	report := map[string]any{
		"operations": len(every), "errors": errors.Load(), "error": sample.Load(),
		"per_s": float64(len(every)) / float64(max(seconds, 1)), "p50_ms": milliseconds(every, 0.50), "p99_ms": milliseconds(every, 0.99),
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		panic(err)
	}
}

func connect(kind string, inFlight int, endpoints []string) []store {
	stores := make([]store, inFlight)
	var shared []*clientv3.Client
	for at := range inFlight {
		if kind == "dynamo" {
			host := endpoints[at%len(endpoints)]
			conn, err := net.Dial("tcp", host)
			must(err)
			stores[at] = &dynamo{host, conn, bufio.NewReader(conn)}
			continue
		}
		if count := max(len(endpoints), inFlight/aConnection); len(shared) < count {
			client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoints[at%len(endpoints)]}, DialTimeout: waitedAtMost})
			must(err)
			shared = append(shared, client)
		}
		stores[at] = etcd{shared[at%len(shared)]}
	}
	return stores
}

func number(at int) int {
	found, err := strconv.Atoi(os.Args[at])
	must(err)
	return found
}

func milliseconds(rising []time.Duration, share float64) float64 {
	if len(rising) == 0 {
		return 0
	}
	return float64(rising[min(len(rising)-1, int(share*float64(len(rising))))].Microseconds()) / 1000
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}
