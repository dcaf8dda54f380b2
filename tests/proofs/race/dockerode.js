// A pull as it is done with dockerode, every event printed: dockerode.js SOCKET IMAGE

const Docker = require("dockerode");

const stop = (error) => {
  if (error) throw error;
};
const docker = new Docker({ socketPath: process.argv[2] });
docker.pull(process.argv[3], (error, stream) => {
  stop(error);
  docker.modem.followProgress(stream, stop, (event) => console.log(JSON.stringify(event)));
});
