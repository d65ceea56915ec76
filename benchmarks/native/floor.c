/* The floor: the least that a process can do to be an SSE fan-out server.
 *
 * One epoll loop. It accepts, answers GET /sse/environments/{key}/stream with the same headers and the same opening
 * block as the stream server, and makes one send() a stream for every broadcast. A broadcast is POST /publish/{key}
 * with the announcement ({"updated_at": ...}) as its body, answered when the last stream has been written to.
 *
 * It does nothing else, on purpose: no heartbeats, no lifetimes, no pace, no limits, no slow readers (what does not
 * fit into a socket is dropped and counted). What another server costs above it is what that server's features cost.
 *
 * Prints {"port": N} when it listens on 127.0.0.1; ends when its standard input does, so that it never outlives the
 * benchmark that started it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 4096, EVENTS = 512, REQUEST = 4096, BLOCK = 256, KEY = 129, CHANNELS = 1024, NOBODY = -1 };

struct channel {
    char key[KEY];
    char announcement[BLOCK]; /* the newest one, for the opening block; empty before the first */
    int *streams;             /* file descriptors */
    int count, room;
};

/* By file descriptor: which channel it listens to and where it stands in it, so that leaving costs nothing. */
struct connection {
    int channel;
    int position;
};

static struct channel channels[CHANNELS];
static int channel_count;
static struct connection *connections;
static int limit;
static int epoll;
static unsigned long dropped;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct channel *find_channel(const char *key)
{
    for (int i = 0; i < channel_count; i++)
        if (strcmp(channels[i].key, key) == 0)
            return &channels[i];
    if (channel_count == CHANNELS)
        return NULL;
    struct channel *made = &channels[channel_count++];
    snprintf(made->key, sizeof made->key, "%s", key);
    return made;
}

static void leave(int fd)
{
    struct connection *connection = &connections[fd];
    if (connection->channel != NOBODY) {
        struct channel *channel = &channels[connection->channel];
        int last = channel->streams[--channel->count];
        channel->streams[connection->position] = last; /* the last stream takes the place of the one that leaves */
        connections[last].position = connection->position;
        connection->channel = NOBODY;
    }
    close(fd);
}

static void join(int fd, struct channel *channel)
{
    if (channel->count == channel->room) {
        channel->room = channel->room ? channel->room * 2 : 1024;
        channel->streams = realloc(channel->streams, (size_t)channel->room * sizeof *channel->streams);
        if (channel->streams == NULL)
            die("realloc");
    }
    connections[fd].channel = (int)(channel - channels);
    connections[fd].position = channel->count;
    channel->streams[channel->count++] = fd;
}

static void put(int fd, const char *bytes, int length)
{
    if (send(fd, bytes, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) != length)
        dropped++;
}

static void open_stream(int fd, struct channel *channel)
{
    char block[2 * BLOCK], answer[4 * BLOCK], date[64];
    time_t now = time(NULL);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
    int size = 0;
    if (channel->announcement[0])
        size = snprintf(block, sizeof block, "event: environment_updated\ndata: %s\n", channel->announcement);
    size += snprintf(block + size, sizeof block - (size_t)size, "retry: 2000\n\n");
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 200 OK\r\ndate: %s\r\ncontent-type: text/event-stream\r\n"
                          "cache-control: public, max-age=0, s-maxage=20\r\nsurrogate-control: max-age=20\r\n"
                          "x-stream-lifetime: 3600\r\nx-stream-join-window: 20\r\naccess-control-allow-origin: *\r\n"
                          "access-control-expose-headers: Age, Retry-After, X-Stream-Lifetime, X-Stream-Join-Window\r\n"
                          "transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n",
                          date, (unsigned)size, block);
    put(fd, answer, length);
    join(fd, channel);
}

static void broadcast(struct channel *channel)
{
    char block[2 * BLOCK], frame[2 * BLOCK + 16];
    int size = snprintf(block, sizeof block, "event: environment_updated\ndata: %s\n\n", channel->announcement);
    int length = snprintf(frame, sizeof frame, "%x\r\n%s\r\n", (unsigned)size, block);
    for (int i = 0; i < channel->count; i++)
        put(channel->streams[i], frame, length);
}

static void answer(int fd, const char *status)
{
    char text[BLOCK];
    put(fd, text, snprintf(text, sizeof text, "HTTP/1.1 %s\r\ncontent-length: 0\r\n\r\n", status));
}

/* One request in one segment: both the load generator and the benchmark's publisher send it so. */
static void handle(int fd)
{
    char request[REQUEST + 1], key[KEY];
    ssize_t length = recv(fd, request, REQUEST, MSG_DONTWAIT);
    if (length <= 0) {
        if (length == 0 || (errno != EAGAIN && errno != EINTR))
            leave(fd);
        return;
    }
    request[length] = 0;
    struct channel *channel;
    if (connections[fd].channel != NOBODY)
        return; /* a stream that says something more */
    if (sscanf(request, "GET /sse/environments/%128[A-Za-z0-9_-]/stream ", key) == 1 && (channel = find_channel(key))) {
        open_stream(fd, channel);
    } else if (sscanf(request, "POST /publish/%128[A-Za-z0-9_-] ", key) == 1 && (channel = find_channel(key))) {
        const char *body = strstr(request, "\r\n\r\n");
        snprintf(channel->announcement, sizeof channel->announcement, "%s", body ? body + 4 : "");
        broadcast(channel);
        answer(fd, "200 OK");
    } else {
        answer(fd, "404 Not Found");
    }
}

static void watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void accept_all(int listener)
{
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= limit) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        connections[fd].channel = NOBODY;
        watch(fd);
    }
}

static int listen_on_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, BACKLOG) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        die("listen");
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        die("getrlimit");
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    limit = (int)files.rlim_cur;
    connections = calloc((size_t)limit, sizeof *connections);
    epoll = epoll_create1(0);
    if (connections == NULL || epoll < 0)
        die("start");
    int listener = listen_on_loopback();
    watch(listener);
    watch(STDIN_FILENO);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                accept_all(listener);
            } else if (fd == STDIN_FILENO) {
                char nothing[64];
                if (read(STDIN_FILENO, nothing, sizeof nothing) <= 0) {
                    if (dropped)
                        fprintf(stderr, "floor: %lu frames dropped\n", dropped);
                    return 0;
                }
            } else {
                handle(fd);
            }
        }
    }
}
