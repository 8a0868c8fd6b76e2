// The JavaScript SDK v3 against the server at argv[2]: what an application does, from CreateTable to a restore. Prints one JSON object.
import assert from 'node:assert/strict'
import {
  ConditionalCheckFailedException,
  CreateTableCommand,
  DeleteTableCommand,
  DescribeContinuousBackupsCommand,
  DescribeTableCommand,
  DynamoDBClient,
  DynamoDBServiceException,
  ResourceInUseException,
  ResourceNotFoundException,
  RestoreTableToPointInTimeCommand,
  UpdateContinuousBackupsCommand,
  waitUntilTableExists,
  waitUntilTableNotExists,
} from '@aws-sdk/client-dynamodb'
import {
  BatchGetCommand,
  BatchWriteCommand,
  DeleteCommand,
  DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  QueryCommand,
  UpdateCommand,
  paginateQuery,
  paginateScan,
} from '@aws-sdk/lib-dynamodb'

const client = new DynamoDBClient({
  endpoint: process.argv[2],
  region: 'us-east-1',
  credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
  maxAttempts: 1,
})
const documents = DynamoDBDocumentClient.from(client)
const TableName = 'from-js'
const wait = { client, minDelay: 0.1, maxDelay: 0.2, maxWaitTime: 60 }
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function refused(kind, command, through = documents) {
  try {
    await through.send(command)
  } catch (error) {
    assert.ok(error instanceof DynamoDBServiceException, String(error))
    if (typeof kind === 'string') assert.equal(error.name, kind)
    else assert.ok(error instanceof kind, `${error.name}: ${error.message}`)
    return error
  }
  assert.fail('nothing was refused')
}

const report = {}

// tables
const create = new CreateTableCommand({
  TableName,
  AttributeDefinitions: [{ AttributeName: 'pk', AttributeType: 'S' }, { AttributeName: 'sk', AttributeType: 'N' }],
  KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }, { AttributeName: 'sk', KeyType: 'RANGE' }],
  BillingMode: 'PAY_PER_REQUEST',
})
assert.equal((await client.send(create)).TableDescription.TableStatus, 'CREATING')
await waitUntilTableExists(wait, { TableName })
await refused(ResourceInUseException, create, client)
await refused(ResourceNotFoundException, new DescribeTableCommand({ TableName: 'absent' }), client)

// one item
const item = { pk: 'a', sk: 1, text: 'é\u{1F600}', raw: new Uint8Array([0, 255]), tags: new Set(['x', 'y']), deep: { things: [1, null, true, { n: 2 }] }, empty: '' }
const once = { TableName, Item: item, ConditionExpression: 'attribute_not_exists(pk)' }
await documents.send(new PutCommand(once))
const clash = await refused(ConditionalCheckFailedException, new PutCommand({ ...once, ReturnValuesOnConditionCheckFailure: 'ALL_OLD' }))
assert.equal(clash.Item.text.S, item.text)
assert.deepEqual((await documents.send(new GetCommand({ TableName, Key: { pk: 'a', sk: 1 }, ConsistentRead: true }))).Item, item)
const updated = await documents.send(new UpdateCommand({
  TableName,
  Key: { pk: 'a', sk: 1 },
  UpdateExpression: 'SET deep.things[3].n = deep.things[3].n + :one REMOVE #e ADD tags :more',
  ConditionExpression: 'size(#t) = :length AND deep.things[0] BETWEEN :zero AND :one',
  ExpressionAttributeNames: { '#e': 'empty', '#t': 'text' },
  ExpressionAttributeValues: { ':one': 1, ':zero': 0, ':more': new Set(['z']), ':length': 3 },
  ReturnValues: 'ALL_NEW',
}))
assert.equal(updated.Attributes.deep.things[3].n, 3)
assert.deepEqual([...updated.Attributes.tags].sort(), ['x', 'y', 'z'])
assert.ok(!('empty' in updated.Attributes))
await refused('ValidationException', new UpdateCommand({ TableName, Key: { pk: 'a', sk: 1 }, UpdateExpression: 'SET pk = :v', ExpressionAttributeValues: { ':v': 'b' } }))
await refused(ConditionalCheckFailedException, new DeleteCommand({ TableName, Key: { pk: 'a', sk: 1 }, ConditionExpression: 'attribute_exists(nothing)' }))
const gone = await documents.send(new DeleteCommand({ TableName, Key: { pk: 'a', sk: 1 }, ReturnValues: 'ALL_OLD' }))
assert.equal(gone.Attributes.text, item.text)

// many items
for (let start = 0; start < 50; start += 25) {
  const puts = Array.from({ length: 25 }, (_, at) => ({ PutRequest: { Item: { pk: 'many', sk: start + at, half: (start + at) / 2 } } }))
  assert.deepEqual((await documents.send(new BatchWriteCommand({ RequestItems: { [TableName]: puts } }))).UnprocessedItems, {})
}
const Keys = [3, 1, 99].map((sk) => ({ pk: 'many', sk }))
report.batch = (await documents.send(new BatchGetCommand({ RequestItems: { [TableName]: { Keys, ConsistentRead: true } } }))).Responses[TableName].length
report.pages = 0
report.queried = []
const query = { TableName, KeyConditionExpression: 'pk = :p AND sk >= :from', FilterExpression: 'half < :most', ExpressionAttributeValues: { ':p': 'many', ':from': 10, ':most': 15 }, ScanIndexForward: false, ConsistentRead: true }
for await (const page of paginateQuery({ client: documents, pageSize: 7 }, { ...query })) {
  report.pages += 1
  report.queried.push(...page.Items.map((one) => one.sk))
}
assert.equal((await documents.send(new QueryCommand({ ...query, Select: 'COUNT' }))).Count, report.queried.length)
report.scanned = 0
for await (const page of paginateScan({ client: documents, pageSize: 9 }, { TableName, ConsistentRead: true })) report.scanned += page.Items.length

// back in time; SDKs speak of whole seconds
const backups = (await client.send(new UpdateContinuousBackupsCommand({ TableName, PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true } }))).ContinuousBackupsDescription
assert.equal(backups.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus, 'ENABLED')
const RestoreDateTime = new Date(Math.floor(Date.now() / 1000) * 1000 + 1000)
while (Date.now() <= RestoreDateTime.getTime()) await pause(50)
await documents.send(new DeleteCommand({ TableName, Key: { pk: 'many', sk: 7 } }))
for (;;) {
  const { LatestRestorableDateTime: latest } = (await client.send(new DescribeContinuousBackupsCommand({ TableName }))).ContinuousBackupsDescription.PointInTimeRecoveryDescription
  if (latest >= RestoreDateTime) break
  await pause(100)
}
const restore = { SourceTableName: TableName, TargetTableName: 'from-js-restored', RestoreDateTime }
assert.equal((await client.send(new RestoreTableToPointInTimeCommand(restore))).TableDescription.RestoreSummary.RestoreInProgress, true)
await refused('TableAlreadyExistsException', new RestoreTableToPointInTimeCommand(restore), client)
await refused('InvalidRestoreTimeException', new RestoreTableToPointInTimeCommand({ ...restore, TargetTableName: 'from-js-later', RestoreDateTime: new Date(Date.now() + 3600_000) }), client)
await waitUntilTableExists(wait, { TableName: 'from-js-restored' })
report.restored = (await documents.send(new GetCommand({ TableName: 'from-js-restored', Key: { pk: 'many', sk: 7 }, ConsistentRead: true }))).Item
report.source = (await documents.send(new GetCommand({ TableName, Key: { pk: 'many', sk: 7 }, ConsistentRead: true }))).Item ?? null

for (const name of [TableName, 'from-js-restored']) {
  assert.equal((await client.send(new DeleteTableCommand({ TableName: name }))).TableDescription.TableStatus, 'DELETING')
  await waitUntilTableNotExists(wait, { TableName: name })
}
console.log(JSON.stringify(report))
