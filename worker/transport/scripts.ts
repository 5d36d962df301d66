/** The scripts that run inside Redis, loaded once per connection and called by their hash. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Argument, Link } from './link.ts';

/** A script by its text and the hash that Redis knows it by. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

function load(...names: readonly string[]): Script {
  const text = names.map((name) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')).join('\n');
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

/** All scripts of the transport; each file says what its keys and arguments are. */
export const scripts = {
  exchange: load('exchange'),
  recover: load('record', 'recover'),
  giveBack: load('record', 'giveBack'),
  renew: load('renew'),
  restore: load('record', 'restore'),
} as const;

/** Makes the scripts known to the server; a server that has restarted has forgotten them. */
export async function loadScripts(link: Link, which: readonly Script[]): Promise<void> {
  await Promise.all(which.map((script) => link.send('SCRIPT', ['LOAD', script.text])));
}

/** Runs a loaded script. A ReplyError with code `NOSCRIPT` says that the server has forgotten it. */
export function runScript(
  link: Link,
  script: Script,
  keys: readonly string[],
  args: readonly Argument[],
): Promise<unknown> {
  return link.send('EVALSHA', [script.sha, keys.length, ...keys, ...args]);
}
