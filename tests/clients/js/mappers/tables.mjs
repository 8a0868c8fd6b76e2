// Tables for the libraries that make none of their own.
import { CreateTableCommand, waitUntilTableExists } from '@aws-sdk/client-dynamodb'
import assert from 'node:assert/strict'

const keys = (hash, range) => [
  { AttributeName: hash, KeyType: 'HASH' },
  ...(range ? [{ AttributeName: range, KeyType: 'RANGE' }] : []),
]

/** A table of string keys. global, local: of each index its name and keys. */
export async function table(client, TableName, [hash, range], { global = {}, local = {} } = {}) {
  const names = new Set([hash, range, ...Object.values(global).flat(), ...Object.values(local)].filter(Boolean))
  const Projection = { ProjectionType: 'ALL' }
  const indexes = {
    GlobalSecondaryIndexes: Object.entries(global).map(([IndexName, of]) => ({ IndexName, KeySchema: keys(...of), Projection })),
    LocalSecondaryIndexes: Object.entries(local).map(([IndexName, sort]) => ({ IndexName, KeySchema: keys(hash, sort), Projection })),
  }
  await client.send(
    new CreateTableCommand({
      TableName,
      KeySchema: keys(hash, range),
      AttributeDefinitions: [...names].map((AttributeName) => ({ AttributeName, AttributeType: 'S' })),
      BillingMode: 'PAY_PER_REQUEST',
      ...Object.fromEntries(Object.entries(indexes).filter(([, found]) => found.length)),
    }),
  )
  await waitUntilTableExists({ client, minDelay: 0.1, maxDelay: 0.2, maxWaitTime: 60 }, { TableName })
}

/** Ask again until `right` likes the answer: what is read of a global index is a moment behind. */
export async function eventually(ask, right) {
  const end = Date.now() + 20_000
  for (;;) {
    const found = await ask()
    if (right(found)) return found
    if (Date.now() > end) assert.fail(`not within 20 s: ${JSON.stringify(found)}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
