"""A link of 20 ms each way to a port of this machine: relay.py PORT DIRECTORY NAME.

Writes the port it listens on to DIRECTORY/NAME.port. On SIGUSR1 it writes how many connections there were, and how often
the server has answered after the client had spoken, to DIRECTORY/NAME.counts.
"""

import asyncio
import os
import signal
import sys

target, path = int(sys.argv[1]), os.path.join(sys.argv[2], sys.argv[3])
connections, trips, spoke = 0, 0, False


async def pass_on(reader, writer, from_client):
    global trips, spoke
    loop, queue = asyncio.get_running_loop(), asyncio.Queue()

    async def deliver():
        while item := await queue.get():
            due, data = item
            await asyncio.sleep(max(0, due - loop.time()))
            writer.write(data)
            await writer.drain()
        writer.close()

    task = asyncio.create_task(deliver())
    while data := await reader.read(16384):
        if from_client:
            spoke = True
        elif spoke:
            trips, spoke = trips + 1, False
        await queue.put((loop.time() + 0.02, data))
    await queue.put(None)
    await task


async def connection(reader, writer):
    global connections
    connections += 1
    await asyncio.sleep(0.04)  # the handshake of TCP, which the kernel has had with us already
    there = await asyncio.open_connection("127.0.0.1", target)
    await asyncio.gather(pass_on(reader, there[1], True), pass_on(there[0], writer, False), return_exceptions=True)


def write(name, text):
    with open(f"{path}.new", "w") as file:
        file.write(text)
    os.rename(f"{path}.new", f"{path}.{name}")


async def main():
    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    tell = lambda: write("counts", f"{connections} {trips}\n")
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    write("port", f"{server.sockets[0].getsockname()[1]}\n")
    await server.serve_forever()


asyncio.run(main())
