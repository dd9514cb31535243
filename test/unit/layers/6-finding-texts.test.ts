/**
 * The sentences of layer 6: every one that a detector makes is in the list, without its numbers.
 * @module
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isListed, listedText, unlistedText } from '../../../src/layers/6-intrusion/finding-texts.ts';

const folder = join(import.meta.dirname, '..', '..', '..', 'src', 'layers', '6-intrusion');
const places: readonly (readonly [RegExp, string])[] = [
  [/\$\{row\.interface === loopbackIndex \? 'the loopback interface' : 'every interface'\}/g, 'every interface'],
  [/\$\{tool\.title\} \(\$\{tool\.kind\}\)/g, 'GDB (debugger)'],
  [/\$\{claimed\.title\}/g, 'GDB'],
  [/\$\{tables[^}]*\}/g, 'tcp, unix'],
  [/\$\{row\.table\}/g, 'tcp'],
  [/\$\{[^}]*(?:\bpid|state|own|stopped|foreign|replaced|lateMs|gap)\b[^{}]*\}/g, '12'],
  [/\$\{[^}]*role[^}]*\}/g, 'engine'],
];

test('every sentence of a detector is in the list', () => {
  const sentences = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && name !== 'finding-texts.ts')
    .flatMap((name) => {
      // However the formatter lays it out.
      const text = readFileSync(join(folder, name), 'utf8').replace(/\s+/g, ' ').replaceAll('( ', '(');
      return [
        ...text.matchAll(
          /(?:aboutTarget\('\w+', state, |about\('\w+', [^`']*(?:'\w+' : '\w+'|'\w+'), process, |what: (?:row\.table === 'packet' \? )?|finding\('\w+', )(?:`([^`]+)`|'([^']+)')/g,
        ),
      ].map((match) => [name, match[1] ?? match[2] ?? ''] as const);
    });
  assert.ok(sentences.length >= 21, `${sentences.length} found`);
  for (const [name, sentence] of sentences) {
    // The role stands in an expression of its own; what is left are numbers.
    const filled = places.reduce(
      (words, [from, to]) => words.replace(from, to),
      sentence.replaceAll(
        /\$\{(?:state\.target\.)?role\}|\$\{(?:parent|whose|target)(?:\.target)?\.role\}|\$\{roles\.get\(pid\) \?\? 'server'\}/g,
        'engine',
      ),
    );
    assert.doesNotMatch(filled, /\$\{/, `${name}: ${sentence}`);
    assert.ok(isListed(filled), `${name}: ${filled}`);
  }
});

test('numbers are taken out, and what is in no list is told without its content', () => {
  assert.equal(listedText('traces the engine (pid 4114)'), 'traces the engine');
  assert.equal(listedText('3 threads of the gateway are stopped'), 'threads of the gateway are stopped');
  assert.equal(
    listedText('the engine has an undeclared tcp socket (state 10)'),
    'the engine has an undeclared tcp socket',
  );
  for (const hostile of [
    '',
    'anything',
    'traces the engine (pid 1) and says more',
    'traces the engine\nkwyre: all is well',
    'is GDB (debugger) 12',
  ])
    assert.equal(listedText(hostile), unlistedText);
});
