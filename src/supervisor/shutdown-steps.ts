/**
 * Steps on the way out of a server: each is bounded in time, and a failure of one does not keep the next from running.
 * @module
 */
import { KwyreError } from '../base/errors.ts';

/** Waits for something for at most `ms` milliseconds. */
export async function within(work: Promise<unknown> | undefined, ms: number): Promise<void> {
  const timeout = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => {
    timeout.resolve(undefined);
  }, ms);
  try {
    await Promise.race([work, timeout.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs one step and prints what failed. @param printedElsewhere - a failure that is not printed here */
export async function attempt(step: () => unknown, printedElsewhere?: unknown): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (error === printedElsewhere) return;
    console.error(error instanceof KwyreError ? `kwyre: ${error.message}\n  next: ${error.remedy}` : error);
  }
}
