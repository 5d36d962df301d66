/**
 * Splits a watch stream into lines. Bytes are joined before they are decoded, so that a character cut in two by a
 * packet is whole again; a line without an end is bounded, so that a broken stream cannot fill the memory.
 */

/** A line longer than this is a fault: an object in etcd is at most 1.5 MiB. */
const maxLineBytes = 16 * 1024 * 1024;

/**
 * Yields each line without its newline; empty lines are left out. What stands after the last newline is dropped: a
 * stream that was cut there delivers that event again after the next watch.
 * @param onActivity called for every piece that arrives, whole line or not
 */
export async function* splitLines(chunks: AsyncIterable<Buffer>, onActivity: () => void): AsyncGenerator<string> {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  for await (const chunk of chunks) {
    onActivity();
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const piece = chunk.subarray(start, end);
      const line = pending.length === 0 ? piece : Buffer.concat([...pending, piece]);
      pending = [];
      pendingBytes = 0;
      start = end + 1;
      if (line.length > 0) yield line.toString('utf8');
    }
    if (start < chunk.length) {
      pending.push(chunk.subarray(start));
      pendingBytes += chunk.length - start;
      if (pendingBytes > maxLineBytes) throw new Error(`a line of the watch is longer than ${maxLineBytes} bytes`);
    }
  }
}
