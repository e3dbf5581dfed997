/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_CONTEXT_API_H
#define PS_CONTEXT_API_H

/* status codes of every call that can fail */
#define PS_OK 0       /* done, or progress was made and nothing is wanted */
#define PS_AGAIN 1    /* needs more input */
#define PS_FULL 2     /* output, log or events must be drained first */
#define PS_DONE 3     /* this part has come to its end */
#define PS_FAIL -1    /* ps_ctx_error() says why; the handle may only be freed */

/* log codes, rsync.h:enum logcode */
#define PS_LOG_ERROR_XFER 1
#define PS_LOG_INFO 2
#define PS_LOG_ERROR 3
#define PS_LOG_WARNING 4
#define PS_LOG_ERROR_SOCKET 5
#define PS_LOG_LOG 6
#define PS_LOG_CLIENT 7
#define PS_LOG_ERROR_UTF8 8

/* rsync.h: IOERR_* */
#define PS_IOERR_GENERAL 1
#define PS_IOERR_VANISHED 2
#define PS_IOERR_DEL_LIMIT 4

typedef struct ps_ctx ps_ctx;

typedef struct ps_error {
    int32_t exit_code; /* rsync's errcode.h */
    int32_t sys_errno;
    int32_t told; /* the remote has ended the run, and has said why in its messages */
    char text[1024];
} ps_error;

typedef struct ps_event {
    int32_t kind; /* PS_EV_* of the part that makes it */
    int32_t code;
    int64_t a, b;
    uint32_t text_off, text_len;
} ps_event;

/* An event of every role. */
#define PS_EV_IO_TIMEOUT 201 /* a: seconds that the remote allows without traffic; a shorter own --timeout stays */

/* rsync.h:struct stats, counted by this side */
typedef struct ps_stats {
    int64_t total_size, total_written, total_read, literal_data, matched_data;
    int64_t flist_size, flist_buildtime_ms, flist_xfertime_ms;
    int32_t num_files, num_dirs, num_symlinks, num_devices, num_specials;
    int32_t created_files, created_dirs, created_symlinks, created_devices, created_specials;
    int32_t deleted_files, deleted_dirs, deleted_symlinks, deleted_devices, deleted_specials;
    int32_t xferred_files;
    int64_t total_transferred_size;
} ps_stats;

ps_ctx *ps_ctx_new(void);
void ps_ctx_free(ps_ctx *c);
const ps_error *ps_ctx_error(const ps_ctx *c);
ps_stats *ps_ctx_stats(ps_ctx *c);
int32_t ps_ctx_io_error(const ps_ctx *c);
void ps_ctx_add_io_error(ps_ctx *c, int32_t bits);
bool ps_ctx_got_xfer_error(const ps_ctx *c);
void ps_ctx_note_xfer_error(ps_ctx *c);
void ps_ctx_go_classic(ps_ctx *c); /* no mirror was nominated: the session goes on as with rsync. Before any file needs data */
void ps_cancel(ps_ctx *c); /* the only call allowed from another thread while a call is running */

/* Log records (u8 code, u32 little-endian length, bytes), to be drained after every call. */
const uint8_t *ps_ctx_log(const ps_ctx *c, size_t *len);
void ps_ctx_log_clear(ps_ctx *c);
const ps_event *ps_ctx_events(const ps_ctx *c, uint32_t *count);
const uint8_t *ps_ctx_event_text(const ps_ctx *c, size_t *len);
void ps_ctx_events_clear(ps_ctx *c);

#endif
