/**
 * JSON as Python's `json.dumps` spells it by default: with a space after each comma and colon, and only ASCII. The same
 * value, in the same bytes: where Celery compares texts, what Node wrote and what Python wrote must be one.
 */

const textOrSeparator = /"(?:[^"\\]|\\.)*"|[,:]/g;
/** DEL too, which JSON.stringify leaves as it is. */
const beyondAscii = /[\u007f-\uffff]/g;

/** Spells a JSON text that has no spaces between its parts, such as `JSON.stringify` writes. */
export function spellAsPython(json: string): string {
  return json
    .replace(textOrSeparator, (part) => (part === ',' || part === ':' ? `${part} ` : part))
    .replace(beyondAscii, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
