// The document client of the SDK beyond single items: indexes, transactions, statements, time to live.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { DescribeTimeToLiveCommand, TransactionCanceledException, UpdateTimeToLiveCommand } from '@aws-sdk/client-dynamodb'
import {
  BatchExecuteStatementCommand,
  DynamoDBDocument,
  ExecuteStatementCommand,
  ExecuteTransactionCommand,
  NumberValue,
  paginateQuery,
} from '@aws-sdk/lib-dynamodb'
import { eventually, table } from './tables.mjs'

export default async function run({ client }) {
  const TableName = 'documents'
  await table(client, TableName, ['pk', 'sk'], { global: { 'by-city': ['city', 'sk'] }, local: { 'by-name': 'name' } })
  const documents = DynamoDBDocument.from(client, { marshallOptions: { removeUndefinedValues: true } })
  const person = (at) => ({ pk: 'people', sk: `p${at}`, name: `n${9 - at}`, city: at % 2 ? 'Utrecht' : undefined, money: 100 })

  // a batch, and what indexes make of it; those without a city are not in the index
  await documents.batchWrite({ RequestItems: { [TableName]: Array.from({ length: 10 }, (_, at) => ({ PutRequest: { Item: person(at) } })) } })
  const inCity = { TableName, IndexName: 'by-city', KeyConditionExpression: 'city = :c', ExpressionAttributeValues: { ':c': 'Utrecht' } }
  const found = await eventually(() => documents.query(inCity), (answer) => answer.Count === 5)
  const named = []
  const byName = { TableName, IndexName: 'by-name', KeyConditionExpression: 'pk = :p', ExpressionAttributeValues: { ':p': 'people' }, ConsistentRead: true }
  for await (const page of paginateQuery({ client: documents, pageSize: 4 }, byName)) named.push(...page.Items.map((one) => one.name))

  // money changes hands once, or not
  const once = randomUUID().slice(0, 30)
  const move = (from, to, amount) => ({
    TransactItems: [
      { Update: { TableName, Key: { pk: 'people', sk: from }, UpdateExpression: 'SET money = money - :m', ConditionExpression: 'money >= :m', ExpressionAttributeValues: { ':m': amount }, ReturnValuesOnConditionCheckFailure: 'ALL_OLD' } },
      { Update: { TableName, Key: { pk: 'people', sk: to }, UpdateExpression: 'SET money = money + :m', ExpressionAttributeValues: { ':m': amount } } },
      { Put: { TableName, Item: { pk: 'log', sk: `${from}-${to}`, amount } } },
      { ConditionCheck: { TableName, Key: { pk: 'people', sk: 'p9' }, ConditionExpression: 'attribute_exists(pk)' } },
    ],
    ClientRequestToken: `${amount}-${once}`,
  })
  for (let time = 0; time < 2; time += 1) await documents.transactWrite(move('p1', 'p2', 30))
  const refused = await documents.transactWrite(move('p1', 'p2', 71)).then(() => assert.fail('more than there was'), (error) => error)
  assert.ok(refused instanceof TransactionCanceledException, String(refused))
  const read = await documents.transactGet({ TransactItems: ['p1', 'p2', 'p99'].map((sk) => ({ Get: { TableName, Key: { pk: 'people', sk } } })) })

  // statements
  const statement = (Statement, ...Parameters) => ({ Statement, Parameters })
  await documents.send(new ExecuteStatementCommand(statement(`INSERT INTO ${TableName} VALUE {'pk': ?, 'sk': ?, 'tags': ?}`, 'stated', 's1', new Set(['x']))))
  const selected = await documents.send(new ExecuteStatementCommand(statement(`SELECT * FROM ${TableName} WHERE pk = ?`, 'stated')))
  const batch = await documents.send(new BatchExecuteStatementCommand({ Statements: [statement(`SELECT * FROM ${TableName} WHERE pk = ? AND sk = ?`, 'people', 'p3'), statement('SELECT * FROM absent WHERE pk = ?', 'x')] }))
  await documents.send(new ExecuteTransactionCommand({ TransactStatements: [statement(`UPDATE ${TableName} SET seen = ? WHERE pk = ? AND sk = ?`, 1, 'people', 'p3'), statement(`DELETE FROM ${TableName} WHERE pk = ? AND sk = ?`, 'stated', 's1')] }))

  const seen = (await documents.get({ TableName, Key: { pk: 'people', sk: 'p3' }, ConsistentRead: true })).Item.seen
  const stated = (await documents.query({ TableName, KeyConditionExpression: 'pk = :p', ExpressionAttributeValues: { ':p': 'stated' }, Select: 'COUNT' })).Count

  // numbers beyond those of JavaScript (how they are read is the whole client's), and a time to live
  await documents.put({ TableName, Item: { pk: 'exact', sk: '1', n: NumberValue.from('123456789012345678901234567890.12345678') } })
  const exact = await DynamoDBDocument.from(client, { unmarshallOptions: { wrapNumbers: true } }).get({ TableName, Key: { pk: 'exact', sk: '1' }, ConsistentRead: true })
  await client.send(new UpdateTimeToLiveCommand({ TableName, TimeToLiveSpecification: { Enabled: true, AttributeName: 'until' } }))
  const lives = await client.send(new DescribeTimeToLiveCommand({ TableName }))

  return {
    city: found.Items.map((one) => one.sk),
    named,
    reasons: refused.CancellationReasons.map((reason) => [reason.Code, reason.Item?.money?.N ?? null]),
    read: read.Responses.map((one) => one.Item?.money ?? null),
    selected: selected.Items.map((one) => [one.sk, [...one.tags]]),
    batch: batch.Responses.map((one) => one.Item?.money ?? one.Error.Code),
    seen,
    stated,
    exact: exact.Item.n.toString(),
    lives: [lives.TimeToLiveDescription.TimeToLiveStatus, lives.TimeToLiveDescription.AttributeName],
  }
}
