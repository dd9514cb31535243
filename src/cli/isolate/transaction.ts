/**
 * Performs the steps of a plan in order, and undoes them in reverse if one fails.
 *
 * Promise: only the planned commands run; a failed installation restores the previous state.
 * Proof:   test/attacks/2-isolate.test.ts
 * @module
 */
import { lstatSync, rmSync } from 'node:fs';
import { KwyreError } from '../../base/errors.ts';
import type { Action, Step } from '../../layers/2-isolation/install/install-steps.ts';
import { runCommand } from '../../linux/command.ts';
import { readRegularText, replaceRootFile } from '../../state/root-files.ts';

/** Restores what one action changed. */
type Undo = () => void;

/** Performs one action. If it writes a file, adds to `undo` a function that restores the previous file. */
function act(action: Action, undo: Undo[]): void {
  switch (action.do) {
    case 'run': {
      const ran = runCommand(action.argv);
      if (!ran.ok && action.mayFail !== true)
        throw new KwyreError(
          'L2_ISOLATE_FAILED',
          `${action.argv[0] ?? ''} failed (${ran.why})`,
          'everything before it is undone; fix the cause and run the command again',
        );
      return;
    }
    case 'write': {
      const { path } = action;
      const before = readRegularText(path);
      const facts = lstatSync(path, { throwIfNoEntry: false });
      replaceRootFile(path, action.text, action.mode, action.owner);
      undo.push(() => {
        if (before === undefined || facts === undefined) rmSync(path, { force: true });
        else replaceRootFile(path, before, facts.mode & 0o777, facts);
      });
      return;
    }
    case 'delete':
      rmSync(action.path, { force: true });
  }
}

/** A step and the number of its actions that were performed. */
type Progress = { readonly step: Step; readonly writes: Undo[]; completed: number };

/** Undoes a step. Adds to `failures` what could not be undone, and continues with the rest. */
function undoStep({ step, writes, completed }: Progress, failures: string[]): void {
  if (completed === 0) return;
  const attempt = (what: Undo) => {
    try {
      what();
    } catch (error) {
      failures.push(
        `${step.id} ` +
          `(${error instanceof KwyreError ? error.message : ((error as NodeJS.ErrnoException).code ?? 'error')})`,
      );
    }
  };
  for (const undo of [...writes].reverse()) attempt(undo);
  for (const action of step.undo)
    attempt(() => {
      act(action, []);
    });
}

/**
 * Performs the steps, then calls `verify`. If anything fails, undoes the steps in reverse.
 * @param tell - called before each step
 * @throws `L2_ISOLATE_FAILED`
 */
export function perform(steps: readonly Step[], tell: (step: Step) => void, verify: () => void): void {
  const done: Progress[] = [];
  try {
    for (const step of steps) {
      tell(step);
      const now: Progress = { step, writes: [], completed: 0 };
      done.push(now);
      for (const action of step.actions) {
        act(action, now.writes);
        now.completed += 1;
      }
    }
    verify();
  } catch (error) {
    const why =
      error instanceof KwyreError
        ? error.message
        : `${done.at(-1)?.step.id ?? 'a step'} failed (${(error as NodeJS.ErrnoException).code ?? 'error'})`;
    if (steps.every((step) => step.undo.length === 0))
      throw new KwyreError(
        'L2_ISOLATE_FAILED',
        why,
        'fix the cause and run the command again: it continues where it stopped',
      );
    const failures: string[] = [];
    for (const each of done.reverse()) undoStep(each, failures);
    if (failures.length > 0)
      throw new KwyreError(
        'L2_ISOLATE_FAILED',
        `${why}; these steps could not be undone: ${failures.join(', ')}`,
        'sudo ./kwyre isolate remove removes the rest',
      );
    throw new KwyreError(
      'L2_ISOLATE_FAILED',
      `${why}; every step before it was undone`,
      'fix the cause and run the command again',
    );
  }
}
