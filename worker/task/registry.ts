/** The tasks of a worker by name. */
import { isTask, type Task } from './define.ts';

/** Finds tasks. */
export interface Registry {
  find(name: string): Task | undefined;
  /** Of the user's tasks, sorted. */
  readonly names: readonly string[];
}

/**
 * Builds a registry. Throws when two tasks have the same name.
 * @param builtins found by name if no task of the user has it
 */
export function createRegistry(tasks: Iterable<Task>, builtins: Iterable<Task> = []): Registry {
  const byName = new Map<string, Task>();
  for (const task of tasks) {
    const known = byName.get(task.name);
    if (known !== undefined && known !== task)
      throw new Error(`two tasks are called ${task.name}; give one another name`);
    byName.set(task.name, task);
  }
  const ownNames = [...byName.keys()].sort();
  for (const task of builtins) if (!byName.has(task.name)) byName.set(task.name, task);
  return { find: (name) => byName.get(name), names: ownNames };
}

/** The tasks among the exports of a module. */
export function tasksOf(module: Readonly<Record<string, unknown>>): Task[] {
  const found = new Set<Task>();
  for (const value of Object.values(module)) {
    if (isTask(value)) found.add(value);
    else if (Array.isArray(value)) for (const each of value as unknown[]) if (isTask(each)) found.add(each);
  }
  return [...found];
}
