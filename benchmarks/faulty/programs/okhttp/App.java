import java.util.concurrent.TimeUnit;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;
import okhttp3.sse.EventSources;

/** OkHttp's EventSource as Flagsmith's Android SDK uses it: the next when one has closed, nothing when one has failed. */
class App extends EventSourceListener {
  private final OkHttpClient client =
      new OkHttpClient.Builder()
          .connectTimeout(6, TimeUnit.SECONDS)
          .readTimeout(10, TimeUnit.MINUTES)
          .writeTimeout(10, TimeUnit.MINUTES)
          .build();
  private final Request request;

  App(String url) {
    request =
        new Request.Builder()
            .url(url)
            .addHeader("Accept", "application/json")
            .addHeader("Accept", "text/event-stream")
            .build();
  }

  void open() {
    EventSources.createFactory(client).newEventSource(request, this);
  }

  @Override
  public void onClosed(EventSource source) {
    open();
  }

  @Override
  public void onFailure(EventSource source, Throwable error, Response response) {
    System.err.println("failed: " + (error != null ? error : response));
  }

  public static void main(String[] arguments) throws InterruptedException {
    new App(arguments[0] + "/sse/environments/" + arguments[1] + "/stream").open();
    Thread.sleep(Long.MAX_VALUE);
  }
}
