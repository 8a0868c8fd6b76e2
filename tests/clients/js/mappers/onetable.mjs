// OneTable: makes its table with indexes of both kinds, keeps values unique by transactions, and reads through batches and indexes.
import { Table } from 'dynamodb-onetable'
import { eventually } from './tables.mjs'

export default async function run({ client }) {
  const table = new Table({
    client,
    name: 'onetable',
    partial: false,
    schema: {
      format: 'onetable:1.1.0',
      version: '0.0.1',
      indexes: { primary: { hash: 'pk', sort: 'sk' }, gs1: { hash: 'gs1pk', sort: 'gs1sk', project: 'all' }, ls1: { type: 'local', sort: 'born', project: 'all' } },
      models: {
        Account: {
          pk: { type: String, value: 'account:${account}' },
          sk: { type: String, value: 'account:' },
          account: { type: String, required: true },
          domain: { type: String, unique: true },
        },
        User: {
          pk: { type: String, value: 'account:${account}' },
          sk: { type: String, value: 'user:${email}' },
          gs1pk: { type: String, value: 'role:${role}' },
          gs1sk: { type: String, value: 'user:${name}' },
          account: { type: String, required: true },
          email: { type: String, required: true },
          name: { type: String, required: true },
          role: { type: String, enum: ['user', 'admin'], default: 'user' },
          born: { type: String },
          balance: { type: Number, default: 0 },
          tags: { type: Set, default: undefined },
          address: { type: Object, schema: { street: { type: String }, zip: { type: Number } } },
          until: { type: Date, ttl: true },
        },
      },
      params: { isoDates: true, timestamps: true },
    },
  })
  await table.createTable({ BillingMode: 'PAY_PER_REQUEST' })
  const exists = await eventually(() => table.exists(), Boolean)
  await eventually(() => table.describeTable(), (found) => found.Table.TableStatus === 'ACTIVE')
  const [Account, User] = ['Account', 'User'].map((name) => table.getModel(name))
  const error = (promise) => promise.then(() => null, (caught) => caught.code)

  await User.create({ account: 'acme', email: 'ann@x.test', name: 'Ann', role: 'admin', born: '1970', address: { street: 'a', zip: 1 }, until: new Date(Date.now() + 3_600_000) })
  const again = await error(User.create({ account: 'acme', email: 'ann@x.test', name: 'Eve' }))
  const batch = {}
  for (let at = 0; at < 20; at += 1) await User.create({ account: 'acme', email: `u${String(at).padStart(2, '0')}@x.test`, name: `u${at}`, born: String(1999 - at), balance: at }, { batch, exists: null })
  await table.batchWrite(batch)

  // pages, indexes, conditions
  const pages = []
  let next
  do {
    const page = await User.find({ account: 'acme' }, { limit: 8, next, consistent: true })
    pages.push(page.length)
    next = page.next
  } while (next)
  const rich = await User.find({ account: 'acme' }, { where: '${balance} > {16}' })
  const young = await User.find({ pk: 'account:acme', born: { begins: '199' } }, { index: 'ls1', reverse: true })
  const admins = await eventually(() => User.find({ role: 'admin' }, { index: 'gs1', follow: true }), (found) => found.length === 1)
  const changed = await User.update({ account: 'acme', email: 'u05@x.test' }, { add: { balance: 10 }, set: { 'address.zip': 7 }, where: '${balance} = {5}' }).then(null, (caught) => caught)
  await User.update({ account: 'acme', email: 'u05@x.test', address: { street: 's', zip: 3 } })
  await User.update({ account: 'acme', email: 'u05@x.test' }, { add: { balance: 10 }, set: { 'address.zip': '${address.zip} + {1}' } })
  const clash = await error(User.update({ account: 'acme', email: 'u05@x.test', balance: 0 }, { where: '${balance} = {5}' }))

  // both or none
  const move = async (amount) => {
    const transaction = {}
    await User.update({ account: 'acme', email: 'u10@x.test' }, { add: { balance: -amount }, where: `\${balance} >= {${amount}}`, transaction })
    await User.update({ account: 'acme', email: 'u01@x.test' }, { add: { balance: amount }, transaction })
    await table.transact('write', transaction)
  }
  await move(7)
  const refused = await error(move(7))
  const transaction = {}
  for (const email of ['u10@x.test', 'u01@x.test']) await User.get({ account: 'acme', email }, { transaction })
  const together = await table.transact('get', transaction, { parse: true, hidden: false })
  await User.remove({ account: 'acme', email: 'ann@x.test' })

  // a domain is one account's, by an item of its own in the same transaction
  await Account.create({ account: 'acme', domain: 'x.test' })
  const taken = await error(Account.create({ account: 'other', domain: 'x.test' }))
  await Account.update({ account: 'acme', domain: 'acme.test' })
  await Account.create({ account: 'other', domain: 'x.test' })
  await Account.remove({ account: 'acme' })
  await Account.create({ account: 'third', domain: 'acme.test' })

  return {
    exists,
    again,
    taken,
    pages,
    rich: rich.map((one) => one.email),
    young: young.map((one) => one.born),
    admins: admins.map((one) => one.name),
    changed: changed.code ?? [changed.balance, changed.address.zip],
    zip: (await User.get({ account: 'acme', email: 'u05@x.test' }, { consistent: true })).address.zip,
    clash,
    refused,
    together: together.map((one) => one.balance),
    count: (await User.find({ account: 'acme' }, { count: true })).count,
    scanned: (await User.scan({}, { segments: 2, segment: 0 })).length + (await User.scan({}, { segments: 2, segment: 1 })).length,
  }
}
