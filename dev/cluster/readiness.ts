// Waiting for a program to answer, and saying what its log says when it does not.
import { readFile } from 'node:fs/promises';
import { get as getHttp, type IncomingMessage } from 'node:http';
import { get as getHttps } from 'node:https';
import { waitUntil } from './poll.ts';
import type { Program } from './process.ts';

/** Whether `url` answers 200 within a second. Never throws: a refused connection is a no. */
export function isHealthy(url: string, authorityPem: string): Promise<boolean> {
  return new Promise((resolve) => {
    // `agent: false`: a kept-alive connection to a program that was killed meanwhile would answer with an error.
    const options = { agent: false, timeout: 1_000 };
    const answered = (response: IncomingMessage) => {
      response.resume();
      resolve(response.statusCode === 200);
    };
    const request = url.startsWith('https:')
      ? getHttps(url, { ...options, ca: authorityPem }, answered)
      : getHttp(url, options, answered);
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', () => resolve(false));
  });
}

/**
 * Waits until `isReady` says yes. Throws with the last lines of the program's log when it ends before, or when
 * `timeoutMs` pass.
 */
export async function waitUntilReady(
  name: string,
  program: Program,
  logPath: string,
  isReady: () => Promise<boolean>,
  timeoutMs: number,
): Promise<void> {
  try {
    await waitUntil(
      `${name} ready`,
      async () => {
        if (!program.isRunning()) throw new Error(`${name} ended while starting`);
        return isReady();
      },
      { timeoutMs },
    );
  } catch (err) {
    const what = err instanceof Error ? err.message : String(err);
    throw new Error(`${what}; its log (${logPath}) ends with:\n${await lastLines(logPath)}`, { cause: err });
  }
}

/** The last lines of a log file, or a note that there is none. */
export async function lastLines(path: string, count = 12): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '(nothing was written)');
  return text.trimEnd().split('\n').slice(-count).join('\n');
}
