// Finding installed programs.
import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';

/** Full path of a program on `$PATH` or in the folders for system tools (which a user's PATH often lacks), or undefined. */
export async function commandPath(command: string): Promise<string | undefined> {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  for (const folder of folders) {
    const path = join(folder, command);
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (folder !== '' && found) return path;
  }
  return undefined;
}
