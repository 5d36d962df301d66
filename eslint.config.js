// Lint rules. The per-folder import rules are the architecture (ARCHITECTURE.md): pure folders may not reach I/O.
import tseslint from 'typescript-eslint';

/** What the pure core may never import: the outside world, and the folders that talk to it. */
const outsideWorld = [
  { group: ['node:*', 'fs', 'net', 'timers'], message: 'The pure core does no I/O: pass the value in.' },
  {
    group: ['ioredis', 'winston', 'prom-client', 'undici', '@kubernetes/client-node'],
    message: 'The pure core does no I/O.',
  },
];

/** The folders of operator/ in the order in which they may see each other: a folder imports only from those before it. */
const layers = ['api', 'kube', 'runtime', 'broker', 'fleet', 'signals', 'scaling', 'plan', 'controllers'];
const pure = new Set(['api', 'signals', 'scaling', 'plan']);

/** @param {string} layer */
const layerRule = (layer) => {
  const later = layers.slice(layers.indexOf(layer) + 1);
  const forbidden = pure.has(layer) ? [...later, 'kube', 'broker', 'fleet', 'runtime'] : later;
  const group = [...new Set(forbidden)].filter((name) => name !== layer).map((name) => `**/${name}/**`);
  return {
    files: [`operator/${layer}/**/*.ts`],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          patterns: [
            ...(pure.has(layer) ? outsideWorld : []),
            // The last folder may see all others, and a pattern without a group is refused.
            ...(group.length === 0
              ? []
              : [
                  {
                    group,
                    allowTypeImports: true,
                    message: `operator/${layer} may not depend on this folder (ARCHITECTURE.md, import rule).`,
                  },
                ]),
          ],
        },
      ],
      ...(pure.has(layer)
        ? {
            'no-restricted-syntax': [
              'error',
              { selector: "MemberExpression[object.name='Date'][property.name='now']", message: 'Time is passed in.' },
            ],
          }
        : {}),
    },
  };
};

export default tseslint.config(
  { ignores: ['node_modules/**', 'dist/**', 'eslint.config.js', 'coverage/**'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      'max-lines': ['error', { max: 400 }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/prefer-promise-reject-errors': 'error',
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      // `{ left, ...rest }` is how a field is left out.
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }],
      'no-console': 'error',
    },
  },
  // winston's own types declare its transports as interfaces, which this rule cannot see through.
  { files: ['operator/runtime/log.ts'], rules: { '@typescript-eslint/no-unsafe-class-instance-assignment': 'off' } },
  { files: ['dev/**/*.ts'], rules: { 'no-console': 'off' } },
  {
    files: ['test/**/*.ts'],
    rules: { '@typescript-eslint/no-unused-expressions': 'off', '@typescript-eslint/no-non-null-assertion': 'off' },
  },
  ...layers.map(layerRule),
);
