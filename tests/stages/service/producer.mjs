// Adds jobs to a queue and tells what becomes of them, a JSON object a line, until its input ends.
// node producer.mjs REDIS QUEUE '[{"data": {…}, "opts": {…}}, …]'
import { createRequire } from 'node:module';

// Modules are looked for below NODE_PATH, which import does not do.
const require = createRequire(import.meta.url);
const { Queue, QueueEvents } = require('bullmq');

const [url, name, jobs] = process.argv.slice(2);
const { hostname: host, port } = new URL(url);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const queue = new Queue(name, { connection });
const events = new QueueEvents(name, { connection });
const tell = (event, about) => console.log(JSON.stringify({ event, ...about }));

queue.on('error', () => {});
events.on('error', () => {});
for (const event of ['active', 'completed', 'failed', 'delayed', 'progress', 'stalled']) {
  events.on(event, (about) => tell(event, about));
}
await events.waitUntilReady();
const added = await queue.addBulk(JSON.parse(jobs).map((job) => ({ name: 'video', ...job })));
tell('added', { ids: added.map((job) => job.id) });
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
