// ElectroDB: many entities in one table, collections over a global index, and a service's transactions.
import electrodb from 'electrodb'
import { eventually, table as makeTable } from './tables.mjs'

const { Entity, Service } = electrodb

export default async function run({ client }) {
  const table = 'electro'
  await makeTable(client, table, ['pk', 'sk'], { global: { gsi1: ['gsi1pk', 'gsi1sk'] }, local: { lsi1: 'lsi1sk' } })
  const configuration = { client, table }
  const Task = new Entity(
    {
      model: { entity: 'task', version: '1', service: 'work' },
      attributes: {
        project: { type: 'string' },
        task: { type: 'string' },
        person: { type: 'string' },
        status: { type: ['open', 'closed'], default: 'open' },
        points: { type: 'number', default: 0 },
        labels: { type: 'set', items: 'string' },
        comments: { type: 'list', items: { type: 'map', properties: { by: { type: 'string' }, text: { type: 'string' } } } },
        rank: { type: 'string', default: 'm' },
      },
      indexes: {
        tasks: { pk: { field: 'pk', composite: ['project'] }, sk: { field: 'sk', composite: ['task'] } },
        ranked: { index: 'lsi1', pk: { field: 'pk', composite: ['project'] }, sk: { field: 'lsi1sk', composite: ['rank'] } },
        assigned: { index: 'gsi1', collection: 'desk', pk: { field: 'gsi1pk', composite: ['person'] }, sk: { field: 'gsi1sk', composite: ['status'] } },
      },
    },
    configuration,
  )
  const Person = new Entity(
    {
      model: { entity: 'person', version: '1', service: 'work' },
      attributes: { person: { type: 'string' }, name: { type: 'string' }, load: { type: 'number', default: 0 } },
      indexes: {
        people: { pk: { field: 'pk', composite: ['person'] }, sk: { field: 'sk', composite: [] } },
        desk: { index: 'gsi1', collection: 'desk', pk: { field: 'gsi1pk', composite: ['person'] }, sk: { field: 'gsi1sk', composite: [] } },
      },
    },
    configuration,
  )
  const work = new Service({ Task, Person }, configuration)

  for (const [person, name] of [['janet', 'Janet'], ['omar', 'Omar']]) await Person.create({ person, name }).go()
  await Task.put(Array.from({ length: 30 }, (_, at) => ({ project: 'house', task: `t${String(at).padStart(2, '0')}`, person: at % 3 ? 'janet' : 'omar', rank: String.fromCharCode(122 - (at % 26)) }))).go()
  const again = await Person.create({ person: 'janet', name: 'J' }).go().then(() => null, (error) => error.code ?? error.name)

  // pages by cursor, an index of each kind, two entities in one query
  const pages = []
  let cursor = null
  do {
    const page = await Task.query.tasks({ project: 'house' }).go({ cursor, limit: 8 })
    pages.push(page.data.length)
    cursor = page.cursor
  } while (cursor)
  const ranked = await Task.query.ranked({ project: 'house' }).gte({ rank: 'x' }).go({ order: 'desc' })
  const desk = await eventually(() => work.collections.desk({ person: 'janet' }).go({ pages: 'all' }), (found) => found.data.Task.length === 20 && found.data.Person.length === 1)

  // a patch with all kinds of updates, under a condition
  const patch = (points) => Task.patch({ project: 'house', task: 't01' }).set({ status: 'closed' }).add({ points, labels: ['paint'] }).append({ comments: [{ by: 'janet', text: 'done' }] }).where(({ status }, { eq }) => eq(status, 'open'))
  await Task.patch({ project: 'house', task: 't01' }).set({ comments: [] }).go()
  const patched = await patch(5).go({ response: 'all_new' })
  const clash = await patch(1).go().then(() => null, (error) => error.cause?.name ?? error.message)
  const closed = await eventually(() => Task.query.assigned({ person: 'janet', status: 'closed' }).go(), (found) => found.data.length === 1)

  // both or none
  const take = () => work.transaction.write(({ Task: task, Person: person }) => [
    task.patch({ project: 'house', task: 't00' }).set({ person: 'janet' }).where(({ person: who }, { eq }) => eq(who, 'omar')).commit({ response: 'all_old' }),
    person.patch({ person: 'janet' }).add({ load: 1 }).commit(),
    person.check({ person: 'omar' }).where(({ name }, { exists }) => exists(name)).commit(),
  ]).go()
  const taken = await take()
  const refused = await take()
  const read = await work.transaction.get(({ Task: task, Person: person }) => [task.get({ project: 'house', task: 't00' }).commit(), person.get({ person: 'janet' }).commit(), person.get({ person: 'nobody' }).commit()]).go()

  const got = await Task.get([{ project: 'house', task: 't03' }, { project: 'house', task: 'none' }]).go()
  const matched = await Task.scan.where(({ points }, { gt }) => gt(points, 4)).go({ pages: 'all' })
  await Task.remove({ project: 'house', task: 't29' }).go()
  await Task.delete([{ project: 'house', task: 't28' }, { project: 'house', task: 't27' }]).go()
  return {
    again,
    pages,
    ranked: ranked.data.map((one) => one.rank),
    desk: [desk.data.Person[0].name, desk.data.Task.length],
    patched: { status: patched.data.status, points: patched.data.points, labels: patched.data.labels, comments: patched.data.comments },
    clash,
    closed: closed.data.map((one) => one.task),
    taken: [taken.canceled, refused.canceled, refused.data.map((one) => [one.rejected, one.code, one.item?.person ?? null])],
    read: read.data.map((one) => one.item?.person ?? null),
    load: read.data[1].item.load,
    got: [got.data.map((one) => one.task), got.unprocessed.length],
    matched: matched.data.map((one) => one.task),
    left: (await Task.query.tasks({ project: 'house' }).go({ pages: 'all' })).data.length,
  }
}
