/** Lua scripts that run inside Redis, called by their digest. */
import { createHash } from 'node:crypto';
import type { Command } from '../../operator/broker/connection.ts';
import { chordBodyScript } from './lua/chordBody.ts';
import { chordPartScript } from './lua/chordPart.ts';
import { exchangeScript } from './lua/exchange.ts';
import { fenceScript } from './lua/fence.ts';
import { overdueScript } from './lua/overdue.ts';
import { renewScript } from './lua/renew.ts';
import { revokeScript } from './lua/revoke.ts';
import { storeScript } from './lua/store.ts';

/** A script and the name under which Redis knows it. */
export interface Script {
  readonly source: string;
  readonly sha: string;
}

const prepare = (source: string): Script => ({ source, sha: createHash('sha1').update(source).digest('hex') });

/** Every script that a worker runs. */
export const scripts = {
  exchange: prepare(exchangeScript),
  store: prepare(storeScript),
  revoke: prepare(revokeScript),
  renew: prepare(renewScript),
  overdue: prepare(overdueScript),
  fence: prepare(fenceScript),
  chordPart: prepare(chordPartScript),
  chordBody: prepare(chordBodyScript),
} as const;

/** The commands that make Redis know all of them: after a start, and after SCRIPT FLUSH. */
export const loadScripts: readonly Command[] = Object.values(scripts).map(({ source }) => ['script', 'LOAD', source]);
