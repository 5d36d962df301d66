/**
 * The body of a message: how it is wrapped (base64, compression, content type), and what is in it. Only JSON is read, as
 * a Celery worker with its default `accept_content`; other content types could run code or need libraries of their own.
 */
import { brotliDecompressSync, inflateSync } from 'node:zlib';
import { malformed, type Parsed } from './errors.ts';
import { decodeJson, decodeUtf8 } from './kombuJson.ts';

/** A decoded body, or why there is none. */
export type ParsedBody = Parsed<unknown> | { readonly kind: 'refused'; readonly why: string };

/** How a body is wrapped, from the message around it. */
export interface BodyWrapping {
  /** `content-type` of the message. */
  readonly contentType: unknown;
  /** `body_encoding` of its properties: `base64`, or nothing for a plain text. */
  readonly bodyEncoding: unknown;
  /** `compression` of its headers: a content type such as `application/x-gzip`. */
  readonly compression: unknown;
}

/** What a compressed body may grow to; beyond it the message is refused instead of filling the memory. */
export const maxUncompressedBytes = 256 * 1024 * 1024;

/** Reads a body. Never throws. */
export function parseBody(body: unknown, wrapping: BodyWrapping): ParsedBody {
  const { contentType, compression } = wrapping;
  if (typeof contentType !== 'string') return malformed('the message has no content-type');
  if (contentType !== 'application/json') {
    return { kind: 'refused', why: `the content type ${quote(contentType)} is not accepted, only application/json` };
  }
  if (typeof body !== 'string') return malformed('the body is not a text');
  if (body === '') return malformed('the body is empty');
  const isCompressed = compression !== undefined && compression !== null && compression !== '';
  const text = isCompressed ? uncompress(body, wrapping) : unwrap(body, wrapping);
  if (text.kind !== 'ok') return text;
  const decoded = decodeJson(text.value);
  if (decoded.kind === 'ok') return decoded;
  // A plain text that says it is base64 decodes to rubbish; that is the more useful thing to say.
  if (wrapping.bodyEncoding === 'base64' && !looksLikeBase64(body)) return malformed('the body is not base64');
  return malformed(`the body is not JSON: ${decoded.why}`);
}

function unwrap(body: string, { bodyEncoding }: BodyWrapping): ParsedBody & Parsed<string> {
  if (bodyEncoding === undefined || bodyEncoding === null || bodyEncoding === 'utf-8')
    return { kind: 'ok', value: body };
  if (bodyEncoding !== 'base64') return malformed(`the body_encoding ${quote(show(bodyEncoding))} is unknown`);
  const bytes = Buffer.from(body, 'base64');
  const text = bytes.toString('utf8');
  // A replacement character is there for invalid bytes, or (rarely) because it was sent.
  if (text.includes('\ufffd') && decodeUtf8(bytes) === undefined) {
    return malformed(looksLikeBase64(body) ? 'the body is not UTF-8' : 'the body is not base64');
  }
  return { kind: 'ok', value: text };
}

// kombu's names and aliases. It calls zlib's format gzip. bzip2, lzma and zstd are not in Node 20.
const decompressors: ReadonlyMap<unknown, (bytes: Uint8Array) => Buffer> = new Map([
  ['application/x-gzip', inflate],
  ['gzip', inflate],
  ['zlib', inflate],
  ['application/x-brotli', unbrotli],
  ['brotli', unbrotli],
] as const);

function inflate(bytes: Uint8Array): Buffer {
  return inflateSync(bytes, { maxOutputLength: maxUncompressedBytes });
}

function unbrotli(bytes: Uint8Array): Buffer {
  return brotliDecompressSync(bytes, { maxOutputLength: maxUncompressedBytes });
}

function uncompress(
  body: string,
  { bodyEncoding, compression }: BodyWrapping,
): Parsed<string> | { readonly kind: 'refused'; readonly why: string } {
  const decompress = decompressors.get(compression);
  if (decompress === undefined) {
    return {
      kind: 'refused',
      why: `the compression ${quote(show(compression))} is not accepted, only gzip and brotli`,
    };
  }
  if (bodyEncoding !== 'base64') return malformed('the body is compressed but not base64');
  let bytes: Buffer;
  try {
    bytes = decompress(Buffer.from(body, 'base64'));
  } catch (err) {
    if (err instanceof RangeError) {
      return { kind: 'refused', why: `the uncompressed body is larger than ${maxUncompressedBytes} bytes` };
    }
    return malformed(`the body is not compressed with ${quote(show(compression))}`);
  }
  const text = decodeUtf8(bytes);
  return text === undefined ? malformed('the body is not UTF-8') : { kind: 'ok', value: text };
}

function looksLikeBase64(body: string): boolean {
  return /^[A-Za-z0-9+/_\s-]*={0,2}\s*$/.test(body);
}

function show(value: unknown): string {
  return typeof value === 'string' ? value : typeof value;
}

/** Quotes a text of the outside world for a sentence, cut to a length that a log line can bear. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
