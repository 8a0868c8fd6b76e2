// The Go SDK v2 against the server at os.Args[1]: what an application does, from CreateTable to a restore. Prints one JSON object.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

const table = "from-go"
const patience = 60 * time.Second

type values = map[string]types.AttributeValue

func text(value string) types.AttributeValue { return &types.AttributeValueMemberS{Value: value} }
func number(value int) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.Itoa(value)}
}
func key(pk string, sk int) values { return values{"pk": text(pk), "sk": number(sk)} }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(claim bool, format string, arguments ...any) {
	if !claim {
		panic(fmt.Sprintf(format, arguments...))
	}
}

// refused panics unless err is of the modelled type E.
func refused[E error](err error) E {
	var wanted E
	check(errors.As(err, &wanted), "wanted %T, got %v", wanted, err)
	return wanted
}

// named panics unless err is an API error of that name.
func named(err error, name string) {
	var api smithy.APIError
	check(errors.As(err, &api) && api.ErrorCode() == name, "wanted %s, got %v", name, err)
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	client := dynamodb.New(dynamodb.Options{
		BaseEndpoint:     aws.String(os.Args[1]),
		Region:           "us-east-1",
		RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "local", SecretAccessKey: "local"}, nil
		}),
	})
	report := map[string]any{}
	tables(ctx, client)
	oneItem(ctx, client)
	manyItems(ctx, client, report)
	backInTime(ctx, client, report)
	gone := dynamodb.NewTableNotExistsWaiter(client, func(o *dynamodb.TableNotExistsWaiterOptions) { o.MinDelay = 100 * time.Millisecond })
	for _, name := range []string{table, table + "-restored"} {
		_, err := client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: aws.String(name)})
		must(err)
		must(gone.Wait(ctx, &dynamodb.DescribeTableInput{TableName: aws.String(name)}, patience))
	}
	must(json.NewEncoder(os.Stdout).Encode(report))
}

func wait(ctx context.Context, client *dynamodb.Client, name string) {
	waiter := dynamodb.NewTableExistsWaiter(client, func(o *dynamodb.TableExistsWaiterOptions) { o.MinDelay = 100 * time.Millisecond })
	must(waiter.Wait(ctx, &dynamodb.DescribeTableInput{TableName: aws.String(name)}, patience))
}

func tables(ctx context.Context, client *dynamodb.Client) {
	create := &dynamodb.CreateTableInput{
		TableName: aws.String(table),
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeN},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
		BillingMode: types.BillingModePayPerRequest,
	}
	created, err := client.CreateTable(ctx, create)
	must(err)
	check(created.TableDescription.TableStatus == types.TableStatusCreating, "status %s", created.TableDescription.TableStatus)
	wait(ctx, client, table)
	_, err = client.CreateTable(ctx, create)
	refused[*types.ResourceInUseException](err)
	_, err = client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String("absent")})
	refused[*types.ResourceNotFoundException](err)
}

func oneItem(ctx context.Context, client *dynamodb.Client) {
	item := key("a", 1)
	item["payload"] = &types.AttributeValueMemberB{Value: []byte{0, 255}}
	item["tags"] = &types.AttributeValueMemberSS{Value: []string{"x", "y"}}
	item["deep"] = &types.AttributeValueMemberM{Value: values{"things": &types.AttributeValueMemberL{Value: []types.AttributeValue{number(1), text("")}}}}
	put := &dynamodb.PutItemInput{
		TableName:                           aws.String(table),
		Item:                                item,
		ConditionExpression:                 aws.String("attribute_not_exists(pk)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	_, err := client.PutItem(ctx, put)
	must(err)
	_, err = client.PutItem(ctx, put)
	clash := refused[*types.ConditionalCheckFailedException](err)
	check(len(clash.Item) == len(item), "the item of a failed condition: %v", clash.Item)
	updated, err := client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                 aws.String(table),
		Key:                       key("a", 1),
		UpdateExpression:          aws.String("SET deep.things[0] = deep.things[0] + :one, #new = if_not_exists(#new, :one) DELETE tags :x"),
		ConditionExpression:       aws.String("size(payload) = :two"),
		ExpressionAttributeNames:  map[string]string{"#new": "new"},
		ExpressionAttributeValues: values{":one": number(1), ":two": number(2), ":x": &types.AttributeValueMemberSS{Value: []string{"x"}}},
		ReturnValues:              types.ReturnValueUpdatedNew,
	})
	must(err)
	check(updated.Attributes["new"].(*types.AttributeValueMemberN).Value == "1", "updated %v", updated.Attributes)
	got, err := client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: aws.String(table), Key: key("a", 1), ConsistentRead: aws.Bool(true), ProjectionExpression: aws.String("deep.things[0], tags"),
	})
	must(err)
	check(got.Item["tags"].(*types.AttributeValueMemberSS).Value[0] == "y", "got %v", got.Item)
	_, err = client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(table), Key: key("a", 1), UpdateExpression: aws.String("SET sk = :v"), ExpressionAttributeValues: values{":v": number(2)},
	})
	named(err, "ValidationException")
	remove := &dynamodb.DeleteItemInput{TableName: aws.String(table), Key: key("a", 1), ConditionExpression: aws.String("attribute_not_exists(tags)")}
	_, err = client.DeleteItem(ctx, remove)
	refused[*types.ConditionalCheckFailedException](err)
	remove.ConditionExpression = aws.String("contains(tags, :y)")
	remove.ExpressionAttributeValues = values{":y": text("y")}
	_, err = client.DeleteItem(ctx, remove)
	must(err)
}

func manyItems(ctx context.Context, client *dynamodb.Client, report map[string]any) {
	for start := 0; start < 50; start += 25 {
		var requests []types.WriteRequest
		for at := start; at < start+25; at++ {
			item := key("many", at)
			item["double"] = number(2 * at)
			requests = append(requests, types.WriteRequest{PutRequest: &types.PutRequest{Item: item}})
		}
		written, err := client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: requests}})
		must(err)
		check(len(written.UnprocessedItems) == 0, "unprocessed %v", written.UnprocessedItems)
	}
	batch, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
		table: {Keys: []map[string]types.AttributeValue{key("many", 3), key("many", 1), key("many", 99)}, ConsistentRead: aws.Bool(true)},
	}})
	must(err)
	report["batch"] = len(batch.Responses[table])
	var queried []int
	pages := 0
	query := dynamodb.NewQueryPaginator(client, &dynamodb.QueryInput{
		TableName:                 aws.String(table),
		KeyConditionExpression:    aws.String("pk = :p AND sk >= :from"),
		FilterExpression:          aws.String("#d < :most"),
		ExpressionAttributeNames:  map[string]string{"#d": "double"},
		ExpressionAttributeValues: values{":p": text("many"), ":from": number(10), ":most": number(60)},
		ScanIndexForward:          aws.Bool(false),
		ConsistentRead:            aws.Bool(true),
		Limit:                     aws.Int32(7),
	})
	for query.HasMorePages() {
		page, err := query.NextPage(ctx)
		must(err)
		pages++
		for _, item := range page.Items {
			sk, err := strconv.Atoi(item["sk"].(*types.AttributeValueMemberN).Value)
			must(err)
			queried = append(queried, sk)
		}
	}
	report["queried"], report["pages"] = queried, pages
	scanned := 0
	scan := dynamodb.NewScanPaginator(client, &dynamodb.ScanInput{TableName: aws.String(table), Limit: aws.Int32(9), ConsistentRead: aws.Bool(true)})
	for scan.HasMorePages() {
		page, err := scan.NextPage(ctx)
		must(err)
		scanned += len(page.Items)
	}
	report["scanned"] = scanned
}

func backInTime(ctx context.Context, client *dynamodb.Client, report map[string]any) {
	backups, err := client.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{
		TableName:                        aws.String(table),
		PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)},
	})
	must(err)
	status := backups.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus
	check(status == types.PointInTimeRecoveryStatusEnabled, "recovery %s", status)
	// SDKs speak of whole seconds
	moment := time.Now().Truncate(time.Second).Add(time.Second)
	time.Sleep(time.Until(moment) + 50*time.Millisecond)
	_, err = client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: aws.String(table), Key: key("many", 7)})
	must(err)
	for {
		now, err := client.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: aws.String(table)})
		must(err)
		latest := now.ContinuousBackupsDescription.PointInTimeRecoveryDescription.LatestRestorableDateTime
		if latest != nil && !latest.Before(moment) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	restore := &dynamodb.RestoreTableToPointInTimeInput{
		SourceTableName: aws.String(table), TargetTableName: aws.String(table + "-restored"), RestoreDateTime: &moment,
	}
	started, err := client.RestoreTableToPointInTime(ctx, restore)
	must(err)
	check(*started.TableDescription.RestoreSummary.RestoreInProgress, "in progress")
	_, err = client.RestoreTableToPointInTime(ctx, restore)
	refused[*types.TableAlreadyExistsException](err)
	later := time.Now().Add(time.Hour)
	_, err = client.RestoreTableToPointInTime(ctx, &dynamodb.RestoreTableToPointInTimeInput{
		SourceTableName: aws.String(table), TargetTableName: aws.String(table + "-later"), RestoreDateTime: &later,
	})
	refused[*types.InvalidRestoreTimeException](err)
	wait(ctx, client, table+"-restored")
	for place, name := range map[string]string{"restored": table + "-restored", "source": table} {
		got, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String(name), Key: key("many", 7), ConsistentRead: aws.Bool(true)})
		must(err)
		report[place] = len(got.Item)
	}
}
