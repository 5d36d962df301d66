/**
 * What a container said before it ended, fit for a status message: the last lines, without colours and without
 * secrets. Pure.
 */

/** How much of it is shown. */
const maxLength = 500;
const hidden = '***';

// Colour and cursor sequences of terminals.
const terminalSequence = /\u001b\[[0-9;?]*[A-Za-z]/g;
/** `user:password@` in any URL, whoever printed it. */
const credentialsInUrl = /([a-z][a-z0-9+.-]*:\/\/)[^\s/@]*:[^\s/@]*@/gi;

/**
 * As many of the last lines as fit, joined by ` | `.
 * @param secrets texts that must not be shown, such as broker URLs and passwords
 */
export function lastWords(text: string, secrets: readonly string[]): string {
  const lines = redact(text.replaceAll(terminalSequence, ''), secrets)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const kept: string[] = [];
  let length = 0;
  for (const line of lines.reverse()) {
    if (kept.length > 0 && length + line.length > maxLength) break;
    kept.unshift(line);
    length += line.length + 3;
  }
  const joined = kept.join(' | ');
  return joined.length <= maxLength ? joined : `…${joined.slice(1 - maxLength)}`;
}

/** The text with secrets and the credentials of URLs hidden. */
export function redact(text: string, secrets: readonly string[]): string {
  let redacted = text;
  // The longest first: a URL holds its password, and hiding the password first would leave the rest of the URL.
  for (const secret of [...secrets].sort((a, b) => b.length - a.length)) {
    if (secret.length >= 4) redacted = redacted.replaceAll(secret, hidden);
  }
  return redacted.replaceAll(credentialsInUrl, `$1${hidden}@`);
}
