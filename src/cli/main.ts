/**
 * The command table; `serve` becomes the supervisor, everything else is a client of a running server.
 * @module
 */
if (process.argv[2] === '--version') console.log('0.1.0');
