#include "wire/local.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define CHUNKS 4                 /* outputs of the sender that wait, or are being read */
#define FILES 128                /* open descriptors that wait */
#define SLICES 10                /* of a second's data, with a limit */
#define SLICE_LEAST 512
#define SECOND 1000000000L

struct ps_local {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    ps_buf chunks[CHUNKS];       /* a ring: `first` is being read where `reading`; those behind the `count` are empty */
    u32 first, count;
    bool reading;
    ps_buf answers;
    i64 bandwidth;
    struct timespec send_at;     /* with a limit: when more may pass */
    local_file files[FILES];
    u32 file_first, file_count, file_most;
    bool sender_ended, receiver_ended, sender_waits;
};

ps_local *ps_local_new(int64_t bandwidth) {
    ps_local *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->bandwidth = bandwidth;
    struct rlimit limit;
    bool known = getrlimit(RLIMIT_NOFILE, &limit) == 0;
    l->file_most = !known || limit.rlim_cur / 8 > FILES ? FILES : limit.rlim_cur / 8 ? (u32)(limit.rlim_cur / 8) : 1;
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, &clock);
    pthread_condattr_destroy(&clock);
    return l;
}

void ps_local_free(ps_local *l) {
    if (!l) return;
    for (u32 i = 0; i < CHUNKS; i++) buf_free(&l->chunks[i]);
    buf_free(&l->answers);
    for (; l->file_count; l->file_count--) close(l->files[l->file_first++ % FILES].fd);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void end_side(ps_local *l, bool *ended) {
    pthread_mutex_lock(&l->lock);
    *ended = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

void ps_local_sender_ended(ps_local *l) { end_side(l, &l->sender_ended); }
void ps_local_receiver_ended(ps_local *l) { end_side(l, &l->receiver_ended); }

/* ---- the sender's thread ---------------------------------------------------------------------- */

static struct timespec later(struct timespec t, i64 nanoseconds) {
    t.tv_sec += nanoseconds / SECOND;
    t.tv_nsec += nanoseconds % SECOND;
    if (t.tv_nsec >= SECOND) t.tv_sec++, t.tv_nsec -= SECOND;
    return t;
}

static struct timespec now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t;
}

/* Under the lock. `out` is moved: its place gets the empty buffer. */
static void put_chunk(ps_local *l, ps_buf *out) {
    while (l->count == CHUNKS && !l->receiver_ended) pthread_cond_wait(&l->changed, &l->lock);
    if (!l->receiver_ended) {
        ps_buf *slot = &l->chunks[(l->first + l->count++) % CHUNKS], empty = *slot;
        *slot = *out;
        *out = empty;
        pthread_cond_broadcast(&l->changed);
    }
    buf_clear(out);
}

/* io.c:sleep_for_bwlimit, under the lock. */
static void wait_for_bandwidth(ps_local *l, size_t n) {
    struct timespec t = now();
    if (t.tv_sec > l->send_at.tv_sec || (t.tv_sec == l->send_at.tv_sec && t.tv_nsec > l->send_at.tv_nsec)) l->send_at = t;
    while (!l->receiver_ended && pthread_cond_timedwait(&l->changed, &l->lock, &l->send_at) == 0) {}
    l->send_at = later(l->send_at, (i64)((double)n * SECOND / (double)l->bandwidth));
}

bool local_send(ps_local *l, ps_buf *out) {
    size_t slice = l->bandwidth / SLICES > SLICE_LEAST ? (size_t)(l->bandwidth / SLICES) : SLICE_LEAST;
    bool ok = !out->failed;
    pthread_mutex_lock(&l->lock);
    while (l->bandwidth && ok && buf_used(out)) {
        size_t n = buf_used(out) < slice ? buf_used(out) : slice;
        ps_buf part = {0};
        ok = buf_put(&part, buf_head(out), n);
        buf_consume(out, n);
        wait_for_bandwidth(l, n);
        put_chunk(l, &part);
        buf_free(&part);
    }
    if (ok && buf_used(out)) put_chunk(l, out);
    pthread_mutex_unlock(&l->lock);
    return ok;
}

bool local_answers(ps_local *l, ps_buf *in) {
    buf_clear(in);
    pthread_mutex_lock(&l->lock);
    while (!buf_used(&l->answers) && !l->receiver_ended) {
        if (!l->sender_waits) pthread_cond_broadcast(&l->changed);
        l->sender_waits = true;
        pthread_cond_wait(&l->changed, &l->lock);
    }
    l->sender_waits = false;
    ps_buf full = l->answers;
    l->answers = *in;
    *in = full;
    pthread_mutex_unlock(&l->lock);
    return buf_used(in) > 0;
}

bool local_hand_over(ps_local *l, local_file f) {
    pthread_mutex_lock(&l->lock);
    bool room = l->file_count < l->file_most;
    if (room) l->files[(l->file_first + l->file_count++) % FILES] = f;
    pthread_mutex_unlock(&l->lock);
    return room;
}

void local_wait_for_room(ps_local *l) {
    pthread_mutex_lock(&l->lock);
    bool full = l->file_count == l->file_most;
    while (full && l->file_count > l->file_most / 2 && !l->receiver_ended) pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

/* ---- the receiver's thread -------------------------------------------------------------------- */

bool local_answer(ps_local *l, const u8 *data, size_t n) {
    if (!n) return true;
    pthread_mutex_lock(&l->lock);
    bool ok = buf_put(&l->answers, data, n);
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    return ok;
}

static void drop_read(ps_local *l) {
    if (!l->reading) return;
    l->reading = false;
    buf_clear(&l->chunks[l->first]);
    l->first = (l->first + 1) % CHUNKS;
    l->count--;
    pthread_cond_broadcast(&l->changed);
}

size_t local_waiting(ps_local *l) {
    pthread_mutex_lock(&l->lock);
    size_t n = buf_used(&l->answers);
    pthread_mutex_unlock(&l->lock);
    return n;
}

local_state local_receive(ps_local *l, int wait, bool while_busy, const u8 **data, size_t *n) {
    struct timespec until = later(now(), wait * (SECOND / 1000));
    pthread_mutex_lock(&l->lock);
    drop_read(l);
    while (!l->count && !l->sender_ended && wait && !(while_busy && l->sender_waits))
        if (pthread_cond_timedwait(&l->changed, &l->lock, &until)) break;
    local_state found = l->count ? LOCAL_DATA : l->sender_ended ? LOCAL_ENDED : LOCAL_NOTHING;
    if (l->count) {
        l->reading = true;
        *data = buf_head(&l->chunks[l->first]);
        *n = buf_used(&l->chunks[l->first]);
    }
    pthread_mutex_unlock(&l->lock);
    return found;
}

bool local_take_over(ps_local *l, local_file *f) {
    pthread_mutex_lock(&l->lock);
    bool any = l->file_count > 0;
    if (any) {
        *f = l->files[l->file_first];
        l->file_first = (l->file_first + 1) % FILES;
        if (--l->file_count == l->file_most / 2) pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return any;
}
