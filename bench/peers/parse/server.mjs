// Parse Server in one process, set up as its README does for an Express application.
import { createRequire } from 'node:module';

// The packages lie in the folder that the process runs in.
const require = createRequire(`${process.cwd()}/`);
const express = require('express');
const { ParseServer } = require('parse-server');

const port = Number(process.env.PORT);
const server = new ParseServer({
  databaseURI: process.env.DATABASE_URL,
  appId: 'bench',
  masterKey: process.env.MASTER_KEY,
  serverURL: `http://127.0.0.1:${port}/parse`,
  allowCustomObjectId: true,
  enforcePrivateUsers: true,
  directAccess: true,
  logLevel: 'warn',
  logsFolder: null,
});
await server.start();
const app = express();
app.use('/parse', server.app);
app.listen(port, '127.0.0.1');
