import { expect } from 'chai';
import fc from 'fast-check';
import { spellAsPython } from '../../../../worker/protocol/pythonJson.ts';

describe('JSON as Python spells it', () => {
  // Right: what json.dumps of Python 3.11 gives.
  const cases: readonly (readonly [value: unknown, text: string])[] = [
    [[1, 'id', 'SUCCESS', null], '[1, "id", "SUCCESS", null]'],
    [{ a: [1.5, true], b: {} }, '{"a": [1.5, true], "b": {}}'],
    ['a,b:c "d"\\', '"a,b:c \\"d\\"\\\\"'],
    ['é\u007f😀\n\u0001', '"\\u00e9\\u007f\\ud83d\\ude00\\n\\u0001"'],
    [[[], {}, ''], '[[], {}, ""]'],
  ];
  for (const [value, text] of cases) {
    it(text, () => expect(spellAsPython(JSON.stringify(value))).to.equal(text));
  }

  it('says the same as before', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const json = JSON.stringify(value);
        const spelt = spellAsPython(json);
        expect(JSON.stringify(JSON.parse(spelt))).to.equal(json);
        expect(spelt).to.match(/^[ -~]*$/);
      }),
    );
  });
});
