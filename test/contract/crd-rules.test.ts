// What the API server accepts and refuses, asked of a real one. Every rule of the definition has rows here, and each
// refusal is exactly one sentence, the one that the schema has.
import { expect } from 'chai';
import { buildRootSchema } from '../../operator/api/v1alpha1/crd.ts';
import type { StructuralSchema } from '../../operator/api/v1alpha1/structural.ts';
import { workerPoolResource } from '../../operator/api/v1alpha1/workerpool.ts';
import { buildDeployment } from '../../operator/plan/deployment.ts';
import { isKubeError } from '../../operator/kube/errors.ts';
import { startApiServer, type TestApiServer } from '../support/apiServer.ts';
import { makePool, type PoolBuilder } from '../support/builders.ts';
import { accepted, changed, refused } from './crd/rows.ts';
import { installDefinition } from './crd/install.ts';

/** `field: Invalid value: "type": sentence`, once. */
const oneRefusal = /^WorkerPool\.muster\.dev ".*?" is invalid: ([^\s[]\S*): Invalid value: "?\w+"?: (.*)$/s;

/** What the server answered: the field and the sentence, or its whole answer when it is not one refusal. */
async function refusalOf(request: Promise<unknown>): Promise<{ field: string; sentence: string } | string> {
  try {
    await request;
    return 'accepted';
  } catch (err) {
    if (!isKubeError(err, 'invalid')) throw err;
    const answer = err.message.slice(err.request.length + 2);
    const [, field, sentence] = oneRefusal.exec(answer) ?? [];
    return field === undefined || sentence === undefined ? answer : { field, sentence };
  }
}

/** Every sentence that stands in a schema. */
function sentencesOf(schema: StructuralSchema): string[] {
  const own = (schema['x-kubernetes-validations'] ?? []).map(({ message }) => message);
  const below = [...Object.values(schema.properties ?? {}), ...(schema.items === undefined ? [] : [schema.items])];
  return [...own, ...below.flatMap(sentencesOf)];
}

describe('the rules of WorkerPool, on a real API server', () => {
  let api: TestApiServer;
  let namespace: string;

  before(async () => {
    api = await startApiServer();
    await installDefinition(api);
    namespace = await api.namespace();
  });
  after(() => api.stop());

  const create = (builder: PoolBuilder, dryRun = true): Promise<unknown> => {
    const manifest = builder.namespace(namespace).manifest();
    return api.client.create(workerPoolResource, namespace, manifest, { fieldManager: 'test', dryRun });
  };

  describe('accepts', () => {
    for (const [name, builder] of Object.entries(accepted)) {
      it(name, async () => {
        expect(await refusalOf(create(builder))).to.equal('accepted');
      });
    }
  });

  describe('refuses', () => {
    for (const [name, { pool, field, sentence }] of Object.entries(refused)) {
      it(name, async () => {
        expect(await refusalOf(create(pool))).to.deep.equal({ field, sentence });
      });
    }
  });

  describe('on a change', () => {
    for (const [name, { from, to, want }] of Object.entries(changed)) {
      it(name, async () => {
        const poolName = `change-${name.replaceAll(/[^a-z]+/g, '-')}`.slice(0, 40).replace(/-$/, '');
        await create(makePool(poolName).spec(from), false);
        const patch = api.client.mergePatch(
          workerPoolResource,
          namespace,
          poolName,
          { spec: to },
          { fieldManager: 'test' },
        );
        expect(await refusalOf(patch)).to.deep.equal(want);
      });
    }
  });

  it('has a row for every sentence', () => {
    const asked = [...Object.values(refused), ...Object.values(changed).map(({ want }) => want)].flatMap((row) =>
      typeof row === 'string' ? [] : [row.sentence],
    );
    expect(sentencesOf(buildRootSchema()).filter((sentence) => !asked.includes(sentence))).to.deep.equal([]);
  });

  it('refuses every variable and every volume that Muster would otherwise leave out without a word', async () => {
    const urlFrom = { secretKeyRef: { name: 'redis', key: 'url' } };
    for (const builder of [makePool(), makePool().node('./tasks.js')]) {
      const pool = builder.broker({ urlFrom, tls: { caFrom: urlFrom } });
      const { spec } = buildDeployment(pool.obj(), { routesConfigMap: 'muster-routes-a', paused: false });
      const made = spec?.template.spec;
      for (const { name } of made?.containers[0]?.env ?? [])
        expect(await refusalOf(create(pool.worker({ env: [{ name, value: 'a' }] }))), name).to.have.property(
          'sentence',
        );
      for (const { name } of made?.volumes ?? []) {
        const theirs = { containers: [{ name: 'worker', image: 'shop:1' }], volumes: [{ name, emptyDir: {} }] };
        expect(await refusalOf(create(pool.template({ spec: theirs }))), name).to.have.property('sentence');
      }
    }
  });

  it('answers with one sentence for each of two things that are wrong', async () => {
    const answer = await refusalOf(create(makePool().concurrency(0).prefetch('Multiplier', 0)));
    expect(JSON.stringify(answer))
      .to.match(/multiplier 0 does not mean/)
      .and.match(/concurrency must be 1/);
    expect(JSON.stringify(answer).match(/Invalid value/g)).to.have.length(2);
  });
});
