/**
 * Formats the steps of a plan as text for human readers and as data for programs. Both omit secrets.
 * @module
 */
import type { Action, Step } from '../../layers/2-isolation/install/install-steps.ts';

/** Quotes a word for a shell if necessary. */
function quoteWord(word: string): string {
  return /^[A-Za-z0-9_./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Formats one action. A command is quoted so that it can be pasted into a shell. */
export function describeAction(action: Action): string {
  if (action.do === 'run')
    return `  $ ${action.argv.map(quoteWord).join(' ')}${action.mayFail === true ? '   (may fail)' : ''}`;
  if (action.do === 'delete') return `  delete ${action.path}`;
  const head =
    `  write ${action.path} (mode ${action.mode.toString(8)}, ` +
    `${action.owner === undefined ? 'root' : `uid ${action.owner.uid}`})`;
  return action.secret === true
    ? `${head}: a secret that is created during the installation and not shown`
    : `${head}\n${action.text
        .trimEnd()
        .split('\n')
        .map((line) => `    | ${line}`)
        .join('\n')}`;
}

export function describeSteps(steps: readonly Step[]): string {
  return steps
    .map((step, index) => `${index + 1}. ${step.id}: ${step.what}\n${step.actions.map(describeAction).join('\n')}`)
    .join('\n\n');
}

/** Returns the steps for `--json`, without secrets. */
export function exportSteps(steps: readonly Step[]): unknown {
  const safe = (action: Action) =>
    action.do === 'write' && action.secret === true ? { ...action, text: null } : action;
  return steps.map((step) => ({
    id: step.id,
    what: step.what,
    actions: step.actions.map(safe),
    undo: step.undo.map(safe),
  }));
}
