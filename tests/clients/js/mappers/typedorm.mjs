// TypeDORM: entities with unique attributes, kept by transactions, and indexes of both kinds. Its decorators are called, as there is no TypeScript here.
import { createRequire } from 'node:module'
import { eventually, table } from './tables.mjs'

// what the packages offer to `import` is no module to Node
const require = createRequire(import.meta.url)
require('reflect-metadata')
const [common, core, clients] = ['common', 'core', 'document-client'].map((name) => require(`@typedorm/${name}`))

const { Attribute, AutoGenerateAttribute, AUTO_GENERATE_ATTRIBUTE_STRATEGY, Entity, INDEX_TYPE, QUERY_ORDER, Table } = common
const { createConnection, ReadBatch, ReadTransaction, WriteBatch, WriteTransaction } = core

function attribute(of, name, type, decorate = Attribute()) {
  Reflect.defineMetadata('design:type', type, of.prototype, name)
  decorate(of.prototype, name)
}

export default async function run({ client }) {
  await table(client, 'typedorm', ['PK', 'SK'], { global: { GSI1: ['GSI1PK', 'GSI1SK'] }, local: { LSI1: 'LSI1SK' } })
  const global = new Table({
    name: 'typedorm',
    partitionKey: 'PK',
    sortKey: 'SK',
    indexes: { GSI1: { type: INDEX_TYPE.GSI, partitionKey: 'GSI1PK', sortKey: 'GSI1SK' }, LSI1: { type: INDEX_TYPE.LSI, sortKey: 'LSI1SK' } },
  })

  class User {}
  attribute(User, 'id', String)
  attribute(User, 'name', String)
  attribute(User, 'email', String, Attribute({ unique: true }))
  attribute(User, 'status', String)
  attribute(User, 'money', Number, Attribute({ default: () => 100 }))
  attribute(User, 'updatedAt', Number, AutoGenerateAttribute({ strategy: AUTO_GENERATE_ATTRIBUTE_STRATEGY.EPOCH_DATE, autoUpdate: true }))
  Entity({
    name: 'user',
    primaryKey: { partitionKey: 'USERS', sortKey: 'USER#{{id}}' },
    indexes: {
      GSI1: { type: INDEX_TYPE.GSI, partitionKey: 'STATUS#{{status}}', sortKey: 'USER#{{name}}' },
      LSI1: { type: INDEX_TYPE.LSI, sortKey: 'NAME#{{name}}' },
    },
  })(User)
  const user = (id, more = {}) => Object.assign(new User(), { id, name: `n${9 - id}`, email: `${id}@x.test`, status: 'active', ...more })

  const { entityManager, transactionManger, batchManager, scanManager } = createConnection({ table: global, entities: [User], documentClient: new clients.DocumentClientV3(client) })

  // an email is one user's, by an item of its own in the same transaction
  const error = (promise) => promise.then(() => null, (caught) => caught.name)
  for (const id of ['1', '2', '3']) await entityManager.create(user(id))
  const taken = await error(entityManager.create(user('4', { email: '1@x.test' })))
  await entityManager.update(User, { id: '1' }, { email: 'new@x.test' })
  await entityManager.create(user('4', { email: '1@x.test' }))

  // single items
  const updated = await entityManager.update(User, { id: '2' }, { money: { ADD: 5 }, status: 'away' }, { where: { money: { EQ: 100 } } })
  const clash = await error(entityManager.update(User, { id: '2' }, { money: 0 }, { where: { money: { EQ: 100 } } }))
  const found = await entityManager.findOne(User, { id: '2' }, { consistentRead: true })

  // batches, with 26 items at once, and pages
  const many = new WriteBatch()
  for (let at = 10; at < 36; at += 1) many.addCreateItem(user(String(at), { name: `m${at}`, status: 'batch' }))
  const batch = await batchManager.write(many)
  const read = await batchManager.read(new ReadBatch().add(['10', '35', '99'].map((id) => ({ item: User, primaryKey: { id } }))))
  const pages = []
  let cursor
  do {
    const page = await entityManager.find(User, {}, { limit: 12, cursor, consistentRead: true })
    pages.push(page.items.length)
    cursor = page.cursor
  } while (cursor)
  const away = await eventually(() => entityManager.find(User, { status: 'away' }, { queryIndex: 'GSI1' }), (answer) => answer.items.length === 1)
  const named = await entityManager.find(User, {}, { queryIndex: 'LSI1', keyCondition: { BEGINS_WITH: 'NAME#n' }, orderBy: QUERY_ORDER.DESC })

  // both or none
  const move = (amount) => new WriteTransaction()
    .addUpdateItem(User, { id: '1' }, { money: { DECREMENT_BY: amount } }, { where: { money: { GE: amount } } })
    .addUpdateItem(User, { id: '3' }, { money: { INCREMENT_BY: amount } })
    .addDeleteItem(User, { id: '10' })
  await transactionManger.write(move(60))
  const refused = await error(transactionManger.write(move(60)))
  const together = await transactionManger.read(new ReadTransaction().addGetItem(User, { id: '1' }).addGetItem(User, { id: '3' }).addGetItem(User, { id: '10' }))
  await entityManager.delete(User, { id: '2' })

  return {
    taken,
    updated: [updated.money, updated.status],
    stamped: Number.isInteger(updated.updatedAt),
    clash,
    found: [found.money, found.email],
    batch: [batch.unprocessedItems.length, batch.failedItems.length],
    read: [read.items.map((one) => one.id).sort(), read.unprocessedItems.length],
    pages,
    away: away.items.map((one) => one.id),
    named: named.items.map((one) => one.name),
    refused,
    together: together.map((one) => one?.money ?? null),
    exists: [await entityManager.exists(User, { email: '2@x.test' }), await entityManager.exists(User, { email: 'new@x.test' })],
    scanned: await scanManager.count(User),
    segments: (await scanManager.parallelScan({ entity: User, totalSegments: 3 })).items.length,
  }
}
