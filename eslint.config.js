import { createRequire } from 'node:module';
const require = createRequire(new URL('./test/package.json', import.meta.url));
const tseslint = require('typescript-eslint');
const tsdoc = require('eslint-plugin-tsdoc');

export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', 'test/node_modules/**', 'eslint.config.js', 'page/**'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    plugins: { tsdoc },
    rules: {
      'tsdoc/syntax': 'off',
      '@typescript-eslint/consistent-type-definitions': ['error', 'type'],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      'no-restricted-syntax': ['error', 'TSEnumDeclaration', 'ExportDefaultDeclaration'],
      eqeqeq: 'error',
    },
  },
  { files: ['test/**'], rules: { '@typescript-eslint/no-floating-promises': 'off', 'no-restricted-syntax': 'off', '@typescript-eslint/no-non-null-assertion': 'off', '@typescript-eslint/no-unsafe-member-access': 'off', '@typescript-eslint/no-unsafe-assignment': 'off', '@typescript-eslint/no-unsafe-call': 'off', '@typescript-eslint/no-unsafe-argument': 'off', '@typescript-eslint/no-unsafe-return': 'off', '@typescript-eslint/no-confusing-void-expression': 'off', '@typescript-eslint/require-await': 'off', '@typescript-eslint/no-deprecated': 'off', '@typescript-eslint/no-misused-spread': 'off' } },
);
