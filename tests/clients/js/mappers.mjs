// Libraries above the JavaScript SDK v3, each with a program in mappers/, against the server at argv[2], side by side. Prints one JSON object: of each program what it
// reports, or `{failed}` with where it did.
import { DynamoDBClient } from '@aws-sdk/client-dynamodb'

const settings = {
  endpoint: process.argv[2],
  region: 'us-east-1',
  credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
  maxAttempts: 1,
}
const report = {}
await Promise.all(
  process.argv.slice(3).map(async (name) => {
    try {
      // a client of its own: what one sets of it, as how numbers are read, the others would find
      report[name] = await (await import(`./mappers/${name}.mjs`)).default({ client: new DynamoDBClient(settings), settings })
    } catch (error) {
      report[name] = { failed: `${error?.stack ?? error}` }
    }
  }),
)
console.log(JSON.stringify(report))
