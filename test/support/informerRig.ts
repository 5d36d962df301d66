/**
 * An informer over the ConfigMaps of a namespace of its own, watching through a fault proxy, with everything that a
 * test of it asks: what was requested, what was delivered, and whether it is still right.
 */
import { expect } from 'chai';
import type { KubeClient } from '../../operator/kube/client.ts';
import { createInformer, type Informer } from '../../operator/kube/informer.ts';
import type { Listing, ReflectorLimits } from '../../operator/kube/reflector.ts';
import type { TransportLimits } from '../../operator/kube/transport.ts';
import { resources, type RawConfigMap } from '../../operator/kube/types.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { applyConfigMap, deleteConfigMap, type TestApiServer } from './apiServer.ts';
import { eventually } from './eventually.ts';
import { isList, isWatch, startFaultProxy, type FaultProxy } from './faultProxy.ts';
import { silentLog } from './silentLog.ts';

/** Short, so that no test waits; `shortWatchMs` 0 where the test is not about it. */
const shortLimits: Partial<ReflectorLimits> = { baseMs: 5, maxMs: 40, shortWatchMs: 0, inactivityMs: 30_000 };
const fieldSelector = 'metadata.name!=kube-root-ca.crt';

/** How to build an informer. */
export interface RigOptions {
  readonly client?: KubeClient;
  readonly limits?: Partial<ReflectorLimits>;
  /** `paged` when absent. */
  readonly listing?: Listing;
  readonly labelSelector?: string;
  readonly transform?: (raw: unknown) => RawConfigMap;
  /** Added before the handler that fills `seen`. */
  readonly firstHandler?: () => void;
}

/** One test's informer and what surrounds it. */
export interface InformerRig {
  readonly proxy: FaultProxy;
  readonly namespace: string;
  /** Every change delivered, as "type name=value". */
  readonly seen: string[];
  lists(): number;
  watches(): number;
  /** A client through the proxy that does not retry by itself. */
  through(limits?: Partial<TransportLimits>): KubeClient;
  /** Builds an informer and runs it; does not wait. */
  run(options?: RigOptions): Informer<RawConfigMap>;
  /** Builds and runs one, and waits until it has listed and watches. */
  start(options?: RigOptions): Promise<Informer<RawConfigMap>>;
  /** Writes and deletes, straight at the API server. */
  put(name: string, value: string, labels?: Record<string, string>): Promise<RawConfigMap>;
  remove(name: string): Promise<void>;
  /** What every fault ends with: the watch works, nothing came twice, the cache is the server's. */
  wantAlive(informer: Informer<RawConfigMap>): Promise<void>;
  dispose(): Promise<void>;
}

/** Builds a rig with a proxy and a namespace of its own. */
export async function createInformerRig(api: TestApiServer): Promise<InformerRig> {
  const proxy = await startFaultProxy(api.cluster);
  const namespace = await api.namespace();
  const stop = new AbortController();
  const running: Promise<void>[] = [];
  const seen: string[] = [];

  const through: InformerRig['through'] = (limits = {}) =>
    api.connect(proxy.kubeConfig(), { limits: { maxRetries: 0, ...limits } }).client;
  const put: InformerRig['put'] = (name, value, labels) => applyConfigMap(api.client, namespace, name, value, labels);

  const run: InformerRig['run'] = (options = {}) => {
    const informer = createInformer<RawConfigMap>({
      client: options.client ?? through(),
      resource: resources.configMaps,
      namespace,
      fieldSelector,
      ...(options.labelSelector === undefined ? {} : { labelSelector: options.labelSelector }),
      transform: options.transform ?? ((raw) => raw as RawConfigMap),
      clock: systemClock,
      log: silentLog,
      metrics: api.metrics,
      limits: { ...shortLimits, ...options.limits },
      listing: options.listing ?? 'paged',
    });
    if (options.firstHandler !== undefined) informer.onChange(options.firstHandler);
    informer.onChange(
      ({ type, object }) => void seen.push(`${type} ${object.metadata.name}=${object.data?.['value']}`),
    );
    running.push(informer.run(stop.signal));
    return informer;
  };

  return {
    proxy,
    namespace,
    seen,
    through,
    run,
    put,
    lists: () => proxy.requests.filter((each) => isList(each) && each.path.endsWith('/configmaps')).length,
    watches: () => proxy.requests.filter(isWatch).length,
    remove: (name) => deleteConfigMap(api.client, namespace, name),
    start: async (options) => {
      const informer = run(options);
      await informer.synced();
      await eventually(() => proxy.openAnswers > 0); // Else there would be no watch yet for a fault to hit.
      return informer;
    },
    wantAlive: async (informer) => {
      await put('last', 'x');
      await eventually(() => expect(seen.at(-1)).to.equal('added last=x'));
      const real = await api.client.list<RawConfigMap>(resources.configMaps, { namespace, fieldSelector });
      const versions = (items: readonly RawConfigMap[]): string[] =>
        items.map((each) => `${each.metadata.name}@${each.metadata.resourceVersion}`).sort();
      expect(versions(informer.list())).to.deep.equal(versions(real.items));
      expect(seen).to.deep.equal([...new Set(seen)], 'no change is delivered twice');
    },
    dispose: async () => {
      stop.abort();
      await Promise.all(running);
      await proxy.close();
    },
  };
}
