/* The swarm: holds many SSE streams in one process and tells when they heard of which version.
 *
 *     swarm HOST PORT CAPACITY FIRST_SOURCE SOURCES
 *
 * One epoll loop and 56 bytes a stream. Connections leave from SOURCES loopback addresses in turn, the first of which
 * is 127.1.0.0 + FIRST_SOURCE: one address has about 28,000 ports for one server. Commands come on standard input, a
 * JSON object with numbers and strings a line, and each gets one line of JSON back. It ends with standard input.
 *
 *   {"do": "open", "path": P, "streams": N}  opens N streams in a new group and answers {"group": G} at once. Also:
 *        "pace": N a second, "at_once": N handshakes under way in this process, "again_min"/"again_max": milliseconds
 *        at random after which a stream that ended is opened again (else it stays closed), "churn": N streams that are
 *        closed as soon as they are open, and opened again until N were, "rcvbuf": SO_RCVBUF, "mss": TCP_MAXSEG (a
 *        network's 1448 instead of loopback's 65483, which lets the server's kernel buffer megabytes a stream),
 *        "deaf": 1 for streams that never read
 *   {"do": "wait", "seconds": S, ...}  answers as "report", with "met": 0 or 1, when all of these hold or S are over:
 *        "open": at least N are open, "closed": at most N are, "opened": N were ever opened,
 *        "version" and "holding": N open streams hold that version or a newer one, "version" and "reached": N clients
 *        were ever told of it, on this stream or on one before; "group": in this group only
 *   {"do": "report", "clear": 1, "version": V}  tells all counts and the histograms of all groups
 *   {"do": "slow", "group": G, "streams": K} / {"do": "resume", "group": G}  K streams stop reading / all read again
 *   {"do": "close", "group": G, "streams": K}  closes K streams for good
 *   {"do": "halt"}  gives up what waits to be opened
 *   {"do": "storm", "at_once": N}  closes every stream and opens it again, at once
 *   {"do": "quit"}
 *
 * A version is microseconds since the epoch and is taken for the moment at which it was announced, so that a latency
 * is the moment of its arrival less itself. A version from before a stream was asked for is its opening block and no
 * delivery. Histograms are sparse lists of [bucket, count]; see bucket_of().
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
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 1024,
    BUFFER = 65536,
    GROUPS = 1024,
    PATH = 256,
    LINE = 4096,
    RESERVED = 16,     /* descriptors that are no streams */
    AT_ONCE = 1000,    /* handshakes under way, unless told otherwise */
    BUCKETS = 2304,
    WHEEL = 1024,      /* slots of TICK milliseconds in which streams wait to be opened again */
    TICK = 10,
};
#define NONE UINT32_MAX
#define STDIN_MARK (UINT32_MAX - 1)

enum state { CLOSED, WAITING, CONNECTING, ASKED, OPEN };
enum phase { HEAD, SIZE, DATA, AFTER_DATA, SIZED_DATA, RAW };
enum { CHUNKED = 1, SLOW = 2, DEAF = 4, SWEPT = 8, SIZED = 16, IN_SIZE = 32 };

struct stream {
    uint64_t held;   /* newest version that came on this stream */
    uint64_t newest; /* newest version that came to this client, on any of its streams */
    uint64_t asked;  /* when its request went out, in microseconds */
    uint64_t number; /* digits being read; in the head a window over its last bytes */
    uint32_t left;   /* bytes left in a chunk or body; in the head the bytes so far, then the length it gives */
    uint32_t next;   /* the next stream in the queue or wheel slot that this one waits in */
    int32_t fd;
    uint16_t group;
    uint16_t status;
    uint8_t state, phase, matched, decimals, dotted, flags;
};

struct group {
    char request[PATH + 128];
    int request_length;
    uint32_t again_min, again_max, rcvbuf, mss;
    uint64_t churn; /* opens still to make, where streams are closed as soon as they are open */
    int churns, reopens, deaf;
    uint64_t open, opened, ended, whole, cut, failed, refused, events, deliveries, backwards, stale;
    uint64_t last_opened, last_raised, last_reached; /* moments */
    uint32_t latency[BUCKETS], opening[BUCKETS];
};

struct queue {
    uint32_t first, last;
};

struct wait {
    int active, group;
    uint64_t open, closed, opened, version, holding, held, reached, told, deadline;
};

static const char PATTERN[] = "updated_at\": ";

static struct stream *streams;
static uint32_t capacity, used;
static struct group *groups[GROUPS];
static int group_count;
static struct queue to_open = {NONE, NONE}, wheel[WHEEL];
static uint64_t wheel_waiting, turned;
static uint32_t under_way, at_once = AT_ONCE;
static uint64_t pace, paced_from, paced;
static struct wait waiting;
static int epoll;
static struct sockaddr_in server;
static uint32_t first_source, sources, next_source;
static char buffer[BUFFER];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

/* 64 buckets for each doubling, so that a bucket is at most 1.6 % wide; below 64 µs each microsecond has its own. */
static unsigned bucket_of(uint64_t microseconds)
{
    if (microseconds < 64)
        return (unsigned)microseconds;
    if (microseconds >= (uint64_t)1 << 40)
        microseconds = ((uint64_t)1 << 40) - 1;
    unsigned exponent = 63 - (unsigned)__builtin_clzll(microseconds);
    return (exponent - 5) * 64 + (unsigned)(microseconds >> (exponent - 6) & 63);
}

/* ---- queues of streams that wait to be opened ---- */

static void push(struct queue *queue, uint32_t index)
{
    streams[index].next = NONE;
    if (queue->first == NONE)
        queue->first = index;
    else
        streams[queue->last].next = index;
    queue->last = index;
}

static uint32_t pop(struct queue *queue)
{
    uint32_t index = queue->first;
    if (index != NONE)
        queue->first = streams[index].next;
    return index;
}

static void open_later(uint32_t index, uint32_t milliseconds)
{
    streams[index].state = WAITING;
    if (milliseconds < TICK) {
        push(&to_open, index);
        return;
    }
    uint32_t ticks = milliseconds / TICK;
    push(&wheel[(turned + (ticks < WHEEL ? ticks : WHEEL - 1)) % WHEEL], index);
    wheel_waiting++;
}

static void turn_wheel(uint64_t moment)
{
    uint64_t reached = moment / 1000 / TICK;
    if (!wheel_waiting || reached - turned > WHEEL * 100)
        turned = reached; /* nobody waits, or the clock was set */
    while (turned < reached) {
        struct queue *slot = &wheel[++turned % WHEEL];
        for (uint32_t index; (index = pop(slot)) != NONE; wheel_waiting--)
            push(&to_open, index);
    }
}

/* ---- one stream ---- */

static void closed(uint32_t index)
{
    struct stream *stream = &streams[index];
    struct group *group = groups[stream->group];
    close(stream->fd);
    if (stream->state == OPEN)
        group->open--;
    else
        under_way--;
    if (waiting.active && stream->held >= waiting.version && (waiting.group < 0 || waiting.group == stream->group))
        waiting.held--;
    stream->fd = -1;
    stream->state = CLOSED;
    stream->held = 0;
}

static void again(uint32_t index)
{
    struct group *group = groups[streams[index].group];
    if (group->churns) {
        if (group->churn) {
            group->churn--;
            open_later(index, 0);
        }
    } else if (group->reopens) {
        open_later(index, group->again_min + (uint32_t)random() % (group->again_max - group->again_min + 1));
    }
}

static void failed(uint32_t index)
{
    groups[streams[index].group]->failed++;
    closed(index);
    again(index);
}

static void watch(int operation, uint32_t index, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u32 = index};
    if (epoll_ctl(epoll, operation, streams[index].fd, &event) < 0)
        die("epoll_ctl");
}

static void ask(uint32_t index)
{
    struct stream *stream = &streams[index];
    struct group *group = groups[stream->group];
    stream->asked = now();
    ssize_t sent = send(stream->fd, group->request, (size_t)group->request_length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent != group->request_length) {
        failed(index);
        return;
    }
    stream->state = ASKED;
    watch(EPOLL_CTL_MOD, index, stream->flags & DEAF ? 0 : EPOLLIN);
    if (stream->flags & DEAF) { /* it will never read that it is open, so it counts when it has asked */
        stream->state = OPEN;
        under_way--;
        group->open++;
        group->opened++;
    }
}

static void start(uint32_t index)
{
    struct stream *stream = &streams[index];
    struct group *group = groups[stream->group];
    int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        die("socket");
    stream->fd = fd;
    stream->state = CONNECTING;
    stream->phase = HEAD;
    stream->held = stream->number = stream->left = 0;
    stream->matched = stream->decimals = stream->dotted = stream->status = 0;
    stream->flags = group->deaf ? DEAF : 0;
    under_way++;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (group->rcvbuf)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &group->rcvbuf, sizeof group->rcvbuf);
    if (group->mss)
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &group->mss, sizeof group->mss);
#ifdef IP_BIND_ADDRESS_NO_PORT
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes); /* else bind() takes a port for itself */
#endif
    struct sockaddr_in source = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(0x7f010000 + first_source + next_source++ % sources)};
    watch(EPOLL_CTL_ADD, index, EPOLLOUT);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0 ||
        (connect(fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS))
        failed(index);
}

/* ---- what a stream says ---- */

static void heard(uint32_t index, uint64_t version, uint64_t moment)
{
    struct stream *stream = &streams[index];
    struct group *group = groups[stream->group];
    int counts = waiting.active && version >= waiting.version && (waiting.group < 0 || waiting.group == stream->group);
    group->events++;
    if (version < stream->held)
        group->backwards++;
    else if (version < stream->newest && !stream->held)
        group->stale++; /* a new stream that begins with less than its client knew */
    if (version > stream->newest) {
        waiting.told += counts && stream->newest < waiting.version;
        stream->newest = version;
        group->last_reached = moment;
    }
    if (version <= stream->held)
        return;
    waiting.held += counts && stream->held < waiting.version;
    stream->held = version;
    group->last_raised = moment;
    if (version >= stream->asked) {
        group->deliveries++;
        group->latency[bucket_of(moment > version ? moment - version : 0)]++;
    }
}

/* Seconds with decimals, as digits and how many of them follow the point, to microseconds. */
static uint64_t version_of(uint64_t digits, unsigned decimals)
{
    for (; decimals < 6; decimals++)
        digits *= 10;
    uint64_t divisor = 1;
    for (; decimals > 6; decimals--)
        divisor *= 10;
    return (digits + divisor / 2) / divisor;
}

static void scan(uint32_t index, const char *bytes, size_t length, uint64_t moment)
{
    struct stream *stream = &streams[index];
    const unsigned whole = sizeof PATTERN - 1;
    for (const char *at = bytes; at < bytes + length; at++) {
        if (stream->matched < whole) {
            stream->matched = *at == PATTERN[stream->matched] ? stream->matched + 1 : *at == PATTERN[0];
            stream->number = stream->decimals = stream->dotted = 0;
        } else if (*at >= '0' && *at <= '9') {
            stream->number = stream->number * 10 + (uint64_t)(*at - '0');
            stream->decimals += stream->dotted;
        } else if (*at == '.') {
            stream->dotted = 1;
        } else {
            stream->matched = 0;
            heard(index, version_of(stream->number, stream->decimals), moment);
        }
    }
}

/* Read the head up to `end`; returns where it ends, NULL when it does not end here or the stream is over. */
static const char *read_head(uint32_t index, const char *at, const char *end, uint64_t moment)
{
    struct stream *stream = &streams[index];
    struct group *group = groups[stream->group];
    for (; at < end; at++) {
        unsigned place = stream->flags & SIZED ? UINT32_MAX : stream->left++;
        if (place >= 9 && place < 12) /* HTTP/1.1 200 */
            stream->status = (uint16_t)(stream->status * 10 + (*at - '0'));
        stream->number = stream->number << 8 | (uint8_t)(*at | 0x20);
        if ((stream->number & 0xffffffffffffff) == 0x6368756e6b6564) /* "chunked" */
            stream->flags |= CHUNKED;
        if (stream->number == 0x2d6c656e6774683a) { /* "-length:" */
            stream->flags |= SIZED | IN_SIZE;
            stream->left = 0;
        } else if (stream->flags & IN_SIZE) {
            if (*at >= '0' && *at <= '9')
                stream->left = stream->left * 10 + (uint32_t)(*at - '0');
            else if (*at == '\r')
                stream->flags &= (uint8_t)~IN_SIZE;
        }
        if (*at == '\n' && stream->matched == 3) {
            stream->matched = 0;
            if (!(stream->flags & SIZED) || stream->flags & CHUNKED)
                stream->left = 0;
            if (stream->status != 200) {
                group->refused++;
                closed(index);
                again(index);
                return NULL;
            }
            stream->phase = stream->flags & CHUNKED ? SIZE : stream->flags & SIZED ? SIZED_DATA : RAW;
            if (stream->state != OPEN) { /* a deaf one that reads at last was counted when it asked */
                under_way--;
                group->open++;
                group->opened++;
            }
            stream->state = OPEN;
            group->last_opened = moment;
            group->opening[bucket_of(moment - stream->asked)]++;
            if (group->churns) {
                closed(index);
                again(index);
                return NULL;
            }
            return at + 1;
        }
        if (*at == (stream->matched % 2 ? '\n' : '\r'))
            stream->matched++;
        else
            stream->matched = *at == '\r';
    }
    return NULL;
}

static int hex(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static void ended(uint32_t index)
{
    groups[streams[index].group]->ended++;
    closed(index);
    again(index);
}

static void parse(uint32_t index, const char *at, size_t length, uint64_t moment)
{
    struct stream *stream = &streams[index];
    const char *end = at + length;
    if (stream->phase == HEAD && (at = read_head(index, at, end, moment)) == NULL)
        return;
    if (stream->phase == RAW) {
        scan(index, at, (size_t)(end - at), moment);
        return;
    }
    if (stream->phase == SIZED_DATA) { /* a body that an edge had whole by the time it sent it */
        size_t here = (size_t)(end - at) < stream->left ? (size_t)(end - at) : stream->left;
        scan(index, at, here, moment);
        stream->left -= (uint32_t)here;
        if (stream->left == 0) {
            groups[stream->group]->whole++;
            ended(index);
        }
        return;
    }
    while (at < end) {
        if (stream->phase == DATA) {
            size_t here = (size_t)(end - at) < stream->left ? (size_t)(end - at) : stream->left;
            scan(index, at, here, moment);
            at += here;
            stream->left -= (uint32_t)here;
            if (stream->left == 0)
                stream->phase = AFTER_DATA;
        } else if (stream->phase == AFTER_DATA) {
            if (*at++ == '\n')
                stream->phase = SIZE;
        } else if (*at == '\n') {
            at++;
            if (stream->left == 0) { /* the final chunk: a clean end */
                ended(index);
                return;
            }
            stream->phase = DATA;
        } else {
            int digit = hex(*at++);
            if (digit >= 0)
                stream->left = stream->left << 4 | (uint32_t)digit;
        }
    }
}

static void readable(uint32_t index)
{
    struct stream *stream = &streams[index];
    ssize_t length = recv(stream->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (length > 0) {
        parse(index, buffer, (size_t)length, now());
    } else if (length == 0 || (errno != EAGAIN && errno != EINTR)) {
        if (stream->state != OPEN) {
            failed(index);
            return;
        }
        groups[stream->group]->cut++;
        closed(index);
        again(index);
    }
}

static void happened(uint32_t index, uint32_t events)
{
    struct stream *stream = &streams[index];
    if (stream->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error)
            failed(index);
        else if (events & EPOLLOUT)
            ask(index);
    } else if (stream->state != CLOSED && stream->state != WAITING) {
        readable(index); /* who does not read is here only when the connection is gone */
    }
}

static void open_waiting(uint64_t moment)
{
    uint64_t allowed = pace ? (moment - paced_from) * pace / 1000000 : UINT64_MAX;
    while (under_way < at_once && to_open.first != NONE && (!pace || paced < allowed)) {
        paced++;
        start(pop(&to_open));
    }
}

/* ---- commands ---- */

static const char *field(const char *line, const char *name)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *at = strstr(line, quoted);
    if (at == NULL)
        return NULL;
    at += strlen(quoted);
    return at + strspn(at, " ");
}

static uint64_t number(const char *line, const char *name, uint64_t otherwise)
{
    const char *at = field(line, name);
    return at ? strtoull(at, NULL, 10) : otherwise;
}

static int text_is(const char *line, const char *name, const char *text)
{
    const char *at = field(line, name);
    size_t length = strlen(text);
    return at && at[0] == '"' && strncmp(at + 1, text, length) == 0 && at[1 + length] == '"';
}

static void say_histogram(const char *name, const uint32_t *histogram)
{
    printf(", \"%s\": [", name);
    const char *comma = "";
    for (unsigned i = 0; i < BUCKETS; i++)
        if (histogram[i]) {
            printf("%s[%u, %u]", comma, i, histogram[i]);
            comma = ", ";
        }
    printf("]");
}

static uint64_t holding(uint64_t version, int group)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < used; i++)
        count += streams[i].state == OPEN && streams[i].held >= version && (group < 0 || streams[i].group == group);
    return count;
}

static uint64_t told(uint64_t version, int group)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < used; i++)
        count += streams[i].newest >= version && (group < 0 || streams[i].group == group);
    return count;
}

static void report(int met, uint64_t version, int clear)
{
    printf("{\"met\": %d, \"moment\": %llu, \"under_way\": %u, \"groups\": [", met, (unsigned long long)now(), under_way);
    for (int i = 0; i < group_count; i++) {
        struct group *group = groups[i];
        printf("%s{\"open\": %llu, \"opened\": %llu, \"ended\": %llu, \"whole\": %llu, \"cut\": %llu, "
               "\"failed\": %llu, \"refused\": %llu, \"events\": %llu, \"deliveries\": %llu, \"backwards\": %llu, \"stale\": %llu, "
               "\"last_opened\": %llu, \"last_raised\": %llu, \"last_reached\": %llu, \"holding\": %llu, "
               "\"reached\": %llu",
               i ? ", " : "", (unsigned long long)group->open, (unsigned long long)group->opened,
               (unsigned long long)group->ended, (unsigned long long)group->whole, (unsigned long long)group->cut,
               (unsigned long long)group->failed,
               (unsigned long long)group->refused, (unsigned long long)group->events,
               (unsigned long long)group->deliveries, (unsigned long long)group->backwards,
               (unsigned long long)group->stale, (unsigned long long)group->last_opened,
               (unsigned long long)group->last_raised, (unsigned long long)group->last_reached,
               (unsigned long long)(version ? holding(version, i) : 0),
               (unsigned long long)(version ? told(version, i) : 0));
        say_histogram("latency", group->latency);
        say_histogram("opening", group->opening);
        printf("}");
        if (clear) {
            memset(group->latency, 0, sizeof group->latency);
            memset(group->opening, 0, sizeof group->opening);
            group->deliveries = group->events = 0;
        }
    }
    printf("]}\n");
}

static int is_met(void)
{
    uint64_t open = 0, opened = 0;
    for (int i = 0; i < group_count; i++)
        if (waiting.group < 0 || waiting.group == i) {
            open += groups[i]->open;
            opened += groups[i]->opened;
        }
    return open >= waiting.open && open <= waiting.closed && opened >= waiting.opened &&
           waiting.held >= waiting.holding && waiting.told >= waiting.reached;
}

static void look_at_wait(uint64_t moment)
{
    int met = waiting.active && is_met();
    if (!waiting.active || (!met && moment < waiting.deadline))
        return;
    waiting.active = 0;
    report(met, waiting.version, 0);
    fflush(stdout);
}

static void begin_wait(const char *line)
{
    double seconds = field(line, "seconds") ? strtod(field(line, "seconds"), NULL) : 10;
    waiting.group = (int)number(line, "group", UINT64_MAX);
    waiting.open = number(line, "open", 0);
    waiting.closed = number(line, "closed", UINT64_MAX);
    waiting.opened = number(line, "opened", 0);
    waiting.version = number(line, "version", UINT64_MAX);
    waiting.holding = number(line, "holding", 0);
    waiting.held = holding(waiting.version, waiting.group);
    waiting.reached = number(line, "reached", 0);
    waiting.told = told(waiting.version, waiting.group);
    waiting.deadline = now() + (uint64_t)(seconds * 1e6);
    waiting.active = 1;
}

static void open_group(const char *line)
{
    uint64_t count = number(line, "streams", 0);
    const char *path = field(line, "path");
    struct group *group = calloc(1, sizeof *group);
    if (group == NULL || path == NULL || group_count == GROUPS || used + count > capacity) {
        free(group);
        printf("{\"error\": \"no room for so many streams, or no path\"}\n");
        return;
    }
    int length = (int)strcspn(path + 1, "\"");
    group->request_length =
        snprintf(group->request, sizeof group->request,
                 "GET %.*s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n", length < PATH ? length : PATH,
                 path + 1);
    group->reopens = field(line, "again_max") != NULL;
    group->again_min = (uint32_t)number(line, "again_min", 0);
    group->again_max = (uint32_t)number(line, "again_max", 0);
    if (group->again_max < group->again_min)
        group->again_max = group->again_min;
    group->rcvbuf = (uint32_t)number(line, "rcvbuf", 0);
    group->mss = (uint32_t)number(line, "mss", 0);
    group->deaf = (int)number(line, "deaf", 0);
    uint64_t churn = number(line, "churn", 0);
    group->churns = churn > 0;
    group->churn = churn > count ? churn - count : 0;
    at_once = (uint32_t)number(line, "at_once", AT_ONCE);
    pace = number(line, "pace", 0);
    paced_from = now();
    paced = 0;
    groups[group_count] = group;
    for (uint64_t i = 0; i < count; i++) {
        streams[used].group = (uint16_t)group_count;
        open_later(used++, 0);
    }
    printf("{\"group\": %d}\n", group_count++);
}

static void slow_down(const char *line)
{
    uint64_t left = number(line, "streams", 0);
    int group = (int)number(line, "group", 0);
    for (uint32_t i = 0; i < used && left; i++)
        if (streams[i].group == group && streams[i].state == OPEN && !(streams[i].flags & SLOW)) {
            streams[i].flags |= SLOW;
            watch(EPOLL_CTL_MOD, i, 0);
            left--;
        }
    printf("{\"missing\": %llu}\n", (unsigned long long)left);
}

static void resume(const char *line)
{
    int group = (int)number(line, "group", 0), count = 0;
    for (uint32_t i = 0; i < used; i++)
        if (streams[i].group == group && streams[i].state == OPEN && streams[i].flags & (SLOW | DEAF)) {
            streams[i].flags &= (uint8_t) ~(SLOW | DEAF);
            watch(EPOLL_CTL_MOD, i, EPOLLIN);
            count++;
        }
    printf("{\"resumed\": %d}\n", count);
}

static void close_some(const char *line)
{
    uint64_t left = number(line, "streams", UINT64_MAX);
    int group = (int)number(line, "group", 0);
    for (uint32_t i = 0; i < used && left; i++)
        if (streams[i].group == group && streams[i].state >= CONNECTING) {
            closed(i);
            left--;
        }
    printf("{}\n");
}

static void halt(void)
{
    uint64_t count = 0;
    for (uint32_t index; (index = pop(&to_open)) != NONE; count++)
        streams[index].state = CLOSED;
    printf("{\"given_up\": %llu}\n", (unsigned long long)count);
}

static void storm(const char *line)
{
    at_once = (uint32_t)number(line, "at_once", AT_ONCE);
    pace = 0;
    for (uint32_t i = 0; i < used; i++)
        if (streams[i].state >= CONNECTING) {
            closed(i);
            streams[i].flags = SWEPT; /* not those that were closed before */
        }
    uint64_t moment = now();
    for (uint32_t i = 0; i < used; i++)
        if (streams[i].state == CLOSED && streams[i].flags & SWEPT)
            open_later(i, 0);
    printf("{\"moment\": %llu}\n", (unsigned long long)moment);
}

static void obey(const char *line)
{
    if (text_is(line, "do", "open"))
        open_group(line);
    else if (text_is(line, "do", "wait"))
        begin_wait(line);
    else if (text_is(line, "do", "report"))
        report(1, number(line, "version", 0), (int)number(line, "clear", 0));
    else if (text_is(line, "do", "slow"))
        slow_down(line);
    else if (text_is(line, "do", "resume"))
        resume(line);
    else if (text_is(line, "do", "close"))
        close_some(line);
    else if (text_is(line, "do", "halt"))
        halt();
    else if (text_is(line, "do", "storm"))
        storm(line);
    else if (text_is(line, "do", "quit"))
        exit(0);
    else
        printf("{\"error\": \"unknown command\"}\n");
    fflush(stdout);
}

static void read_commands(void)
{
    static char line[LINE];
    static size_t length;
    ssize_t count = read(STDIN_FILENO, line + length, sizeof line - 1 - length);
    if (count <= 0)
        exit(0); /* whoever started it is gone */
    length += (size_t)count;
    line[length] = 0;
    char *end;
    while ((end = strchr(line, '\n')) != NULL) {
        *end = 0;
        obey(line);
        length -= (size_t)(end + 1 - line);
        memmove(line, end + 1, length + 1);
    }
    if (length == sizeof line - 1)
        exit(2);
}

static void set_up(char **arguments)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        die("getrlimit");
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[2]))};
    if (inet_pton(AF_INET, arguments[1], &server.sin_addr) != 1)
        die("HOST is not an IPv4 address");
    capacity = (uint32_t)strtoul(arguments[3], NULL, 10);
    first_source = (uint32_t)strtoul(arguments[4], NULL, 10);
    sources = (uint32_t)strtoul(arguments[5], NULL, 10);
    if (sources == 0 || capacity + RESERVED > files.rlim_cur) {
        fprintf(stderr, "swarm: %u streams need %u open files; the limit is %lu\n", capacity, capacity + RESERVED,
                (unsigned long)files.rlim_cur);
        exit(1);
    }
    streams = calloc(capacity ? capacity : 1, sizeof *streams);
    epoll = epoll_create1(0);
    if (streams == NULL || epoll < 0)
        die("start");
    for (int i = 0; i < WHEEL; i++)
        wheel[i] = (struct queue){NONE, NONE};
    srandom((unsigned)getpid());
    turned = now() / 1000 / TICK;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = STDIN_MARK};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
        die("standard input must be a pipe");
}

int main(int count, char **arguments)
{
    if (count != 6) {
        fprintf(stderr, "usage: swarm HOST PORT CAPACITY FIRST_SOURCE SOURCES\n");
        return 2;
    }
    set_up(arguments);
    printf("{\"bytes_a_stream\": %zu}\n", sizeof(struct stream));
    fflush(stdout);
    for (;;) {
        static struct epoll_event events[EVENTS];
        int busy = to_open.first != NONE || wheel_waiting || waiting.active;
        int ready = epoll_wait(epoll, events, EVENTS, busy ? 5 : -1);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        turn_wheel(now()); /* first, or a delay that begins below would count from the last turn */
        for (int i = 0; i < ready; i++) {
            if (events[i].data.u32 == STDIN_MARK)
                read_commands();
            else
                happened(events[i].data.u32, events[i].events);
        }
        uint64_t moment = now();
        open_waiting(moment);
        look_at_wait(moment);
    }
}
