// Dynamoose: makes its table with indexes and a time to live, waits for it, and writes through models and transactions.
import { DynamoDB } from '@aws-sdk/client-dynamodb'
import dynamoose from 'dynamoose'
import { eventually } from './tables.mjs'

export default async function run({ settings }) {
  dynamoose.aws.ddb.set(new DynamoDB(settings))
  const schema = new dynamoose.Schema(
    {
      owner: { type: String, hashKey: true },
      name: { type: String, rangeKey: true },
      breed: { type: String, index: { type: 'global', name: 'by-breed', rangeKey: 'age' } },
      age: { type: Number, index: { type: 'local', name: 'by-age', rangeKey: 'age' } },
      tags: { type: Set, schema: [String] },
      home: { type: Object, schema: { city: String, since: Date } },
      walks: { type: Array, schema: [Number], default: [] },
    },
    { timestamps: true },
  )
  const Dog = dynamoose.model('Dog', schema)
  const kennel = new dynamoose.Table('dogs', [Dog], {
    throughput: 'ON_DEMAND',
    waitForActive: { enabled: true, check: { timeout: 60_000, frequency: 50 } },
    expires: { ttl: 86_400_000, attribute: 'until' },
    initialize: false,
    tags: { kept: 'by dynamoose' },
  })
  await kennel.initialize()

  await Dog.batchPut(Array.from({ length: 12 }, (_, at) => ({ owner: 'ann', name: `dog${at}`, breed: at % 3 ? 'collie' : 'pug', age: 12 - at })))
  await Dog.create({ owner: 'bob', name: 'rex', breed: 'pug', age: 3, tags: new Set(['big', 'loud']), home: { city: 'Utrecht', since: new Date(0) } })
  const again = await Dog.create({ owner: 'bob', name: 'rex' }).then(() => null, (error) => error.name)

  // all pages, and one after the other
  const all = await Dog.scan().limit(5).all().exec()
  let last
  let pages = 0
  const paged = []
  do {
    const query = Dog.query('owner').eq('ann').limit(5)
    const page = await (last ? query.startAt(last) : query).exec()
    paged.push(...page.map((dog) => dog.name))
    pages += 1
    last = page.lastKey
  } while (last)
  const oldest = await Dog.query('owner').eq('ann').using('by-age').where('age').gt(6).sort('descending').exec()
  const pugs = await eventually(() => Dog.query('breed').eq('pug').using('by-breed').exec(), (found) => found.length === 5)

  await Dog.update({ owner: 'bob', name: 'rex' }, { $ADD: { age: 1 }, $SET: { walks: [1] }, $REMOVE: ['tags'] })
  await Dog.update({ owner: 'bob', name: 'rex' }, { $ADD: { walks: [2, 3] } }, { condition: new dynamoose.Condition().filter('age').eq(4) })
  const clash = await Dog.update({ owner: 'bob', name: 'rex' }, { age: 9 }, { condition: new dynamoose.Condition().filter('age').lt(4) }).then(() => null, (error) => error.name)
  const got = await Dog.get({ owner: 'bob', name: 'rex' }, { consistent: true })

  // both or none
  const birthday = (name, age) => Dog.transaction.update({ owner: 'ann', name }, { $ADD: { age } })
  await dynamoose.transaction([birthday('dog1', 1), Dog.transaction.create({ owner: 'eve', name: 'new', age: 0 }), Dog.transaction.delete({ owner: 'ann', name: 'dog11' })])
  const cancelled = await dynamoose
    .transaction([birthday('dog1', 1), Dog.transaction.create({ owner: 'eve', name: 'new', age: 0 })])
    .then(() => null, (error) => [error.name, error.CancellationReasons.map((reason) => reason.Code)])
  const together = await dynamoose.transaction([Dog.transaction.get({ owner: 'ann', name: 'dog1' }), Dog.transaction.get({ owner: 'eve', name: 'new' })])
  await Dog.batchDelete([{ owner: 'ann', name: 'dog2' }, { owner: 'ann', name: 'dog3' }])
  const left = await Dog.batchGet([{ owner: 'ann', name: 'dog2' }, { owner: 'ann', name: 'dog4' }])

  return {
    again,
    all: all.length,
    pages,
    paged: paged.length,
    oldest: oldest.map((dog) => dog.age),
    pugs: pugs.map((dog) => dog.name).sort(),
    rex: { age: got.age, walks: got.walks, tags: got.tags ?? null, city: got.home.city, since: got.home.since.getTime() },
    stamped: [got.createdAt, got.updatedAt, got.until].map((time) => new Date(time).getTime() > 0),
    clash,
    cancelled,
    together: together.map((dog) => dog.age),
    left: left.map((dog) => dog.name),
    count: (await Dog.query('owner').eq('ann').count().exec()).count,
  }
}
