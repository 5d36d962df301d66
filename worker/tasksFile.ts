/** Loads the modules that hold a user's tasks: JavaScript, or TypeScript as it is written. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConfigError } from './config.ts';
import type { Task } from './task/define.ts';
import { createRegistry, tasksOf } from './task/registry.ts';

/** Imports the files and gives their tasks. Throws ConfigError, naming the file, when one cannot be used. */
export async function loadTasks(files: readonly string[]): Promise<Task[]> {
  const tasks: Task[] = [];
  for (const file of files) {
    const path = resolve(file);
    if (!existsSync(path)) throw new ConfigError(`--tasks: there is no file ${file}`);
    const found = tasksOf(await importFile(file, path));
    if (found.length === 0)
      throw new ConfigError(`--tasks: ${file} exports no task; export what task('name', {}, …) gives`);
    tasks.push(...found);
  }
  try {
    createRegistry(tasks);
  } catch (err) {
    throw new ConfigError(`--tasks: ${err instanceof Error ? err.message : String(err)}`, { cause: err });
  }
  return tasks;
}

async function importFile(file: string, path: string): Promise<Record<string, unknown>> {
  const url = pathToFileURL(path).href;
  try {
    if (!/\.[cm]?tsx?$/.test(path)) return (await import(url)) as Record<string, unknown>;
    const { tsImport } = await import('tsx/esm/api');
    return (await tsImport(url, import.meta.url)) as Record<string, unknown>;
  } catch (err) {
    const why = err instanceof Error ? `${err.name}: ${err.message}` : String(err);
    throw new ConfigError(`--tasks: ${file} cannot be imported (${why.split('\n')[0] ?? ''})`, { cause: err });
  }
}
