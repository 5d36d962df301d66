/** The chart as Helm sees it: it lints, refuses values that are wrong, and renders what the golden files say. */
import { execa } from 'execa';
import { expect } from 'chai';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { ensureBinary } from '../../dev/cluster/binaries.ts';

const chart = fileURLToPath(new URL('../../charts/muster', import.meta.url));
const goldens = fileURLToPath(new URL('../golden/chart/', import.meta.url));

interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly annotations?: Record<string, string>;
  };
  readonly rules?: readonly { readonly resources: readonly string[]; readonly verbs: readonly string[] }[];
}

describe('chart', function () {
  this.timeout(600_000); // The first run may have to build Helm.
  let helm: string;
  before(async () => {
    helm = await ensureBinary('helm');
  });

  const template = async (...args: string[]): Promise<string> => {
    const { stdout } = await execa(helm, [
      'template',
      'muster',
      chart,
      '--namespace',
      'muster-system',
      '--kube-version',
      '1.34.0',
      ...args,
    ]);
    return stdout;
  };
  const manifests = (rendered: string): Manifest[] =>
    parseAllDocuments(rendered)
      .map((document) => document.toJS() as Manifest | null)
      .filter((manifest) => manifest !== null);

  it('passes helm lint, strictly', async () => {
    const { stdout } = await execa(helm, ['lint', '--strict', chart]);
    expect(stdout).to.contain('0 chart(s) failed');
  });

  const variants: Record<string, string[]> = {
    'cluster-wide': [],
    namespaced: ['--set', 'watchNamespace=shop', '--set', 'replicas=1', '--set', 'crds.enabled=false'],
    everything: [
      '--set',
      'metrics.podMonitor=true',
      '--set',
      'networkPolicy.enabled=true',
      '--set',
      'podLabels.team=a',
      '--set',
      'priorityClassName=high',
    ],
  };
  for (const [name, args] of Object.entries(variants)) {
    it(`renders the golden file: ${name}`, async () => {
      // The CRD is generated and checked for drift elsewhere; here it would bury the rest.
      const rendered = await template('--set', 'crds.enabled=false', ...args);
      const file = `${goldens}${name}.yaml`;
      if (process.env['UPDATE_GOLDEN'] === '1') {
        await mkdir(goldens, { recursive: true });
        await writeFile(file, `${rendered}\n`);
      }
      expect(`${rendered}\n`).to.equal(await readFile(file, 'utf8'));
    });
  }

  it('installs the generated CRD, kept on uninstall, from a template so that upgrades reach it', async () => {
    const crd = manifests(await template()).find(({ kind }) => kind === 'CustomResourceDefinition');
    expect(crd?.metadata.name).to.equal('workerpools.muster.dev');
    expect(crd?.metadata.annotations?.['helm.sh/resource-policy']).to.equal('keep');
  });

  it('asks for nothing outside its namespaces when it serves one namespace', async () => {
    const rendered = manifests(await template('--set', 'watchNamespace=shop', '--set', 'crds.enabled=false'));
    expect(rendered.filter(({ kind }) => kind.startsWith('Cluster'))).to.deep.equal([]);
    const namespaces = new Set(rendered.map(({ metadata }) => metadata.namespace));
    expect([...namespaces].sort()).to.deep.equal(['muster-system', 'shop']);
  });

  it('never asks to list or watch Secrets', async () => {
    for (const { rules } of manifests(await template())) {
      for (const rule of rules ?? []) {
        if (rule.resources.includes('secrets')) expect(rule.verbs).to.deep.equal(['get']);
        expect([...rule.resources, ...rule.verbs]).not.to.include('*');
      }
    }
  });

  const wrong: Record<string, [value: string, wantNamed: string]> = {
    'an unknown value': ['replica=2', 'replica'],
    'a value of the wrong type': ['replicas=two', 'replicas'],
    'an unknown log level': ['logLevel=loud', 'logLevel'],
  };
  for (const [name, [value, wantNamed]] of Object.entries(wrong)) {
    it(`refuses ${name}`, async () => {
      const { stderr, exitCode } = await execa(helm, ['template', 'muster', chart, '--set', value], { reject: false });
      expect(exitCode).not.to.equal(0);
      expect(stderr).to.contain(wantNamed);
    });
  }
});
