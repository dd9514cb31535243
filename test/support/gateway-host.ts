/**
 * Runs a whole test gateway (listener, supervisor's and engine's ends) in a process of its own, e.g. in a network
 * namespace: prints its port and token as one JSON line and ends when its input does.
 * @module
 */
import { startGateway } from './gateway.ts';

const gateway = await startGateway();
process.stdout.write(`${JSON.stringify({ port: gateway.port, token: gateway.token, pid: gateway.pid })}\n`);
process.stdin.resume();
process.stdin.on('end', () => {
  void gateway.stop().then(() => process.exit(0));
});
