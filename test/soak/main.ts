/**
 * `test/run soak [layer5|mixed|kills] [...]`: the long runs, each a program of its own; without a word the one for
 * false alarms.
 * @module
 */
await import(['layer5', 'mixed', 'kills'].includes(process.argv[2] ?? '') ? './conversations.ts' : './alarms.ts');
