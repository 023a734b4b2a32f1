// C-ECHO and C-STORE by dcmjs-dimse: `node dcmjs_client.cjs NODE_MODULES PORT FILE`; exit code 0 when both succeed.
const [, , modules, port, file] = process.argv;
const dimse = require(`${modules}/dcmjs-dimse`);
const { CEchoRequest, CStoreRequest } = dimse.requests;

function run(request) {
  return new Promise((resolve, reject) => {
    const client = new dimse.Client();
    request.on('response', (response) => resolve(response.getStatus()));
    client.on('networkError', reject);
    client.on('associationRejected', () => reject(new Error('rejected')));
    client.addRequest(request);
    client.send('127.0.0.1', Number(port), 'DCMJS', 'ECGNODE');
  });
}

async function main() {
  for (const request of [new CEchoRequest(), new CStoreRequest(file)]) {
    const status = await run(request);
    if (status !== dimse.constants.Status.Success) throw new Error(`status ${status}`);
  }
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
