/** Sends tasks from TypeScript. Arguments and results have the types of the tasks: `npm run producer -- URL`. */
import { createClient } from 'muster/worker';
import { countPrimes, measure } from './tasks.js';

const redis = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379/0';
const url = process.argv[2] ?? 'http://127.0.0.1:8080/healthz';

const client = createClient({ broker: redis, backend: redis, defaultQueue: 'node' });
try {
  const [page, primes] = await Promise.all([client.send(measure, [url]), client.send(countPrimes, [100_000])]);
  const { status, bytes } = await page.get({ timeoutMs: 60_000 });
  console.log(`${url}: status ${status}, ${bytes} bytes`);
  console.log(`${await primes.get({ timeoutMs: 60_000 })} primes below 100000`);
} finally {
  await client.close();
}
