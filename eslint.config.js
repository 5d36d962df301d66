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
const operatorLayers = ['api', 'kube', 'runtime', 'broker', 'fleet', 'signals', 'scaling', 'plan', 'controllers'];
const pureOfOperator = new Set(['api', 'signals', 'scaling', 'plan']);

/** The same of worker/. The files at its top come last. */
const workerLayers = [
  ...['protocol', 'task', 'transport', 'results', 'canvas', 'client', 'pool', 'execution', 'control'],
];
const pureOfWorker = new Set(['protocol', 'task']);
/** The two parts of operator/ that know nothing of Kubernetes; the worker stands on them too. */
const sharedByOperator = ['runtime', 'broker'];

/** @param {string[]} folders */
const inFolders = (folders) => folders.map((name) => `**/${name}/**`);

/**
 * @param {string[]} files
 * @param {{ patterns: object[], isPure: boolean }} imports
 */
const importRule = (files, { patterns, isPure }) => ({
  files,
  rules: {
    '@typescript-eslint/no-restricted-imports': [
      'error',
      { patterns: [...(isPure ? outsideWorld : []), ...patterns.filter(({ group }) => group.length > 0)] },
    ],
    ...(isPure
      ? {
          'no-restricted-syntax': [
            'error',
            { selector: "MemberExpression[object.name='Date'][property.name='now']", message: 'Time is passed in.' },
            { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: 'Time is passed in.' },
          ],
          'no-restricted-globals': ['error', 'setTimeout', 'setInterval', 'setImmediate', 'performance', 'process'],
        }
      : {}),
  },
});

const noWorker = { group: ['**/worker/**'], message: 'The operator does not depend on the worker.' };

/** @param {string} layer */
const operatorRule = (layer) => {
  const later = operatorLayers.slice(operatorLayers.indexOf(layer) + 1);
  const isPure = pureOfOperator.has(layer);
  const forbidden = isPure ? [...later, 'kube', 'broker', 'fleet', 'runtime'] : later;
  return importRule([`operator/${layer}/**/*.ts`], {
    isPure,
    patterns: [
      noWorker,
      {
        group: inFolders([...new Set(forbidden)].filter((name) => name !== layer)),
        allowTypeImports: true,
        message: `operator/${layer} may not depend on this folder (ARCHITECTURE.md, import rule).`,
      },
    ],
  });
};

const onlySharedByOperator = {
  group: inFolders(operatorLayers.filter((name) => !sharedByOperator.includes(name)).map((name) => `operator/${name}`)),
  message: 'Of the operator the worker uses operator/runtime and operator/broker only.',
};

const standsAlone = { group: ['**/operator/**'], message: 'The pure core stands alone.' };

/** @param {string} layer */
const workerRules = (layer) => {
  const isPure = pureOfWorker.has(layer);
  const rule = (files, top) =>
    importRule([files], {
      isPure,
      patterns: [
        isPure ? standsAlone : onlySharedByOperator,
        {
          group: [...inFolders(workerLayers.slice(workerLayers.indexOf(layer) + 1)), top],
          allowTypeImports: true,
          message: `worker/${layer} may not depend on this (ARCHITECTURE.md, import rule).`,
        },
      ],
    });
  return [rule(`worker/${layer}/*.ts`, '../*.ts'), rule(`worker/${layer}/*/*.ts`, '../../*.ts')];
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
    // Programs of a user: their tsconfig.json needs the package installed, this one finds it here.
    files: ['examples/**/*.ts'],
    languageOptions: { parserOptions: { projectService: false, project: 'dev/examples.tsconfig.json' } },
    rules: { 'no-console': 'off' },
  },
  {
    files: ['test/**/*.ts'],
    rules: { '@typescript-eslint/no-unused-expressions': 'off', '@typescript-eslint/no-non-null-assertion': 'off' },
  },
  ...operatorLayers.map(operatorRule),
  importRule(['operator/*.ts'], { isPure: false, patterns: [noWorker] }),
  ...workerLayers.flatMap(workerRules),
  importRule(['worker/*.ts'], { isPure: false, patterns: [onlySharedByOperator] }),
  // Compressed bodies are a fact of the protocol; zlib's synchronous functions are pure.
  importRule(['worker/protocol/body.ts'], { isPure: false, patterns: [outsideWorld[1], standsAlone] }),
  // What a thread starts with: a composition root as the files at the top are.
  importRule(['worker/pool/threadMain.ts'], { isPure: false, patterns: [onlySharedByOperator] }),
);
