/**
 * Helpers for the steps of a server's shutdown. Each step is bounded in time, and its failure does not keep the next
 * step from running.
 * @module
 */
import { KwyreError } from '../base/errors.ts';

/** Waits for `work` for at most `ms` milliseconds. */
export async function within<T>(work: Promise<T> | undefined, ms: number): Promise<T | undefined> {
  const timeout = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => {
    timeout.resolve(undefined);
  }, ms);
  try {
    return await Promise.race([work, timeout.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs one step and prints its error, if any. @param printedElsewhere - an error that is not printed here */
export async function attempt(step: () => unknown, printedElsewhere?: unknown): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (error === printedElsewhere) return;
    console.error(error instanceof KwyreError ? `kwyre: ${error.message}\n  next: ${error.remedy}` : error);
  }
}
