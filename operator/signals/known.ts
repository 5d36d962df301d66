/**
 * Unknown is a type, not a number. A reading that could not be taken must never look like an empty queue: that is how
 * other scalers have shrunk a busy fleet to nothing while the broker was down.
 */

/** A value, or the sentence that says why there is none. */
export type Known<T> = { readonly kind: 'ok'; readonly value: T } | { readonly kind: 'unknown'; readonly why: string };

/** Wraps a value that is known. */
export function known<T>(value: T): Known<T> {
  return { kind: 'ok', value };
}

/** Says that a value is not known, and why, in words that fit into a status message. */
export function unknown(why: string): Known<never> {
  return { kind: 'unknown', why };
}
