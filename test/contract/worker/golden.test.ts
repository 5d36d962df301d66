// The wire formats of every supported Celery, recorded from it: has the installed one drifted from the recording, and does
// it read what Muster writes as it reads its own? UPDATE_GOLDEN=1 records anew;
// CELERY_VERSIONS=all takes every version, CELERY_VERSIONS=5.7.0,5.3.6 some; about 20 s each.
import { expect } from 'chai';
import { askedVersions, ensureCelery } from '../../support/celery.ts';
import {
  findDrift,
  hasGolden,
  normaliseGolden,
  readGolden,
  recordGolden,
  runGoldenScript,
  writeGolden,
} from '../../support/golden.ts';
import { rebuild, resultCases, typedValues } from './goldenCases.ts';

for (const version of askedVersions) {
  describe(`the wire formats of Celery ${version}`, function () {
    this.timeout(180_000);

    it('are as they were recorded', async () => {
      const recorded = await recordGolden(await ensureCelery(version));
      if (process.env['UPDATE_GOLDEN'] === '1') await writeGolden(version, recorded);
      expect(hasGolden(version), `no recording of ${version}: run with UPDATE_GOLDEN=1`).to.equal(true);
      const golden = readGolden(version);
      expect(recorded.versions['celery']).to.equal(version);
      expect(recorded.versions['kombu'], 'kombu').to.equal(golden.versions['kombu']);
      expect(findDrift(normaliseGolden(recorded), normaliseGolden(golden))).to.deep.equal([]);
    });

    it('are read the same when Muster writes them', async () => {
      const golden = readGolden(version);
      const messages = Object.entries(golden.messages).flatMap(([name, raws]) => raws.map((raw) => ({ name, raw })));
      const pairs = messages.flatMap(({ name, raw }) => {
        const ours = rebuild(raw);
        return ours === undefined ? [] : [{ name, pair: [raw, ours] }];
      });
      expect(pairs.length).to.be.greaterThan(40);
      const { pairs: differences } = (await runGoldenScript(await ensureCelery(version), 'read.py', {
        pairs: pairs.map(({ pair }) => pair),
      })) as { pairs: (string | null)[] };
      const found = differences
        .flatMap((what, i) => (what === null ? [] : [`${pairs[i]?.name}: ${what}`]))
        // Before 5.7 a text that is cut is followed by one more `, ...`.
        .filter((what) => version === '5.7.0' || !what.startsWith('long arguments: .headers.argsrepr'));
      // JavaScript has one kind of number: what was a float without a fraction in Python becomes an int.
      expect(found).to.deep.equal(['plain values: .body[0][0][2]: 1.0 is not 1']);
    });

    it('of results are read when Muster writes them, and failures are raised', async () => {
      const { results } = (await runGoldenScript(await ensureCelery(version), 'read.py', {
        results: Object.values(resultCases).map(({ json }) => json),
      })) as { results: unknown[] };
      const wanted = Object.fromEntries(Object.entries(resultCases).map(([name, { want }]) => [name, want]));
      expect(Object.fromEntries(Object.keys(resultCases).map((name, i) => [name, results[i]]))).to.deep.equal(wanted);
    });

    it('of typed values are read when Muster makes them', async () => {
      const { bodies } = (await runGoldenScript(await ensureCelery(version), 'read.py', {
        bodies: Object.values(typedValues).map(({ raw }) => raw),
      })) as { bodies: string[] };
      const wanted = Object.fromEntries(Object.entries(typedValues).map(([name, { want }]) => [name, want]));
      const got = Object.keys(typedValues).map((name, i) => [name, bodies[i]]);
      expect(Object.fromEntries(got)).to.deep.equal(wanted);
    });
  });
}
