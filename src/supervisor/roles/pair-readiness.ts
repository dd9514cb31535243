/**
 * Waits until both roles of a pair report that they are ready, and finds the reason if one does not.
 * @module
 */
import { KwyreError } from '../../base/errors.ts';
import type { EngineFacts } from '../../wire/control-payloads.ts';
import type { RoleProcess } from './role-process.ts';

const timeoutMs = 120_000;
/** Exit code of a role when a module differs from the verified one. */
const loadRefusedExit = 13;

export class PairReadiness {
  /**
   * Settles when both roles are ready.
   * @throws the error a role reported, `L3_LOAD_REFUSED`, `START_FAILED`, `START_TIMEOUT`
   */
  readonly ready: Promise<EngineFacts>;
  readonly #engine = Promise.withResolvers<EngineFacts>();
  readonly #gateway = Promise.withResolvers<undefined>();

  constructor() {
    const timer = setTimeout(() => {
      this.fail(
        'engine',
        new KwyreError(
          'START_TIMEOUT',
          `the engine was not ready within ${timeoutMs / 1000} s`,
          'try a smaller model; ./kwyre doctor shows what this machine can enforce',
        ),
      );
    }, timeoutMs);
    this.ready = Promise.all([this.#engine.promise, this.#gateway.promise])
      .then(([facts]) => facts)
      .finally(() => {
        clearTimeout(timer);
      });
    this.ready.catch(() => undefined);
  }

  engineReady(facts: EngineFacts): void {
    this.#engine.resolve(facts);
  }

  gatewayReady(): void {
    this.#gateway.resolve(undefined);
  }

  /** Fails the start with the reason that a role reported. */
  fail(role: 'gateway' | 'engine', error: KwyreError): void {
    (role === 'engine' ? this.#engine : this.#gateway).reject(error);
  }

  /** Fails the start if a role ends before it is ready, unless the role's own last report has already done so. */
  watch(role: 'gateway' | 'engine', process: RoleProcess): void {
    void process.drained.then(({ code, signal }) => {
      const output = process.startOutput.trim();
      const isRefused = code === loadRefusedExit;
      this.fail(
        role,
        new KwyreError(
          isRefused ? 'L3_LOAD_REFUSED' : 'START_FAILED',
          `the ${role} ended while starting (${signal ?? `exit ${code ?? 1}`})${output === '' ? '' : `: ${output}`}`,
          isRefused
            ? 'install again: npm ci --omit=dev --ignore-scripts --no-bin-links'
            : './kwyre doctor shows what this machine can enforce; start with a smaller --ctx if memory is short',
        ),
      );
    });
  }
}
