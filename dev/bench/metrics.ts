/** Reads numbers out of the operator's metrics and Redis' statistics. Pure. */

/** The sum over every series of a metric whose labels contain all of `labels` (as `name="value"`) and none of `without`. */
export function sumOf(
  text: string,
  name: string,
  labels: readonly string[] = [],
  without: readonly string[] = [],
): number {
  return series(text, name)
    .filter(({ labelText }) => labels.every((each) => labelText.includes(each)))
    .filter(({ labelText }) => !without.some((each) => labelText.includes(each)))
    .reduce((sum, { value }) => sum + value, 0);
}

/** How many series a metric has whose labels contain all of `labels`. */
export function countOf(text: string, name: string, labels: readonly string[] = []): number {
  return series(text, name).filter(({ labelText }) => labels.every((each) => labelText.includes(each))).length;
}

/** Requests that changed something at the API server. */
export function writesOf(text: string): number {
  return sumOf(text, 'rest_client_requests_total', [], ['method="GET"']);
}

function series(text: string, name: string): { labelText: string; value: number }[] {
  return text.split('\n').flatMap((line) => {
    if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) return [];
    const end = line.lastIndexOf(' ');
    return [{ labelText: line.slice(name.length, end), value: Number(line.slice(end + 1)) }];
  });
}

/** Calls by command out of `INFO commandstats`, subcommands included: `{ llen: 4000, 'client|id': 1 }`. */
export function parseCommandStats(info: string): Map<string, number> {
  return new Map(
    [...info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(([, name = '', calls]) => [name, Number(calls)]),
  );
}
