// A driver: does the orders on stdin with openai-java, as ../doc.go describes.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.client.okhttp.OkHttpClient;
import com.openai.core.ClientOptions;
import com.openai.core.JsonValue;
import com.openai.core.MultipartField;
import com.openai.core.RequestOptions;
import com.openai.core.http.HttpResponse;
import com.openai.core.http.StreamResponse;
import com.openai.errors.OpenAIException;
import com.openai.errors.OpenAIServiceException;
import com.openai.helpers.ChatCompletionAccumulator;
import com.openai.helpers.RealtimeConnection;
import com.openai.helpers.RealtimeWebSocketOptions;
import com.openai.models.FunctionDefinition;
import com.openai.models.FunctionParameters;
import com.openai.models.audio.speech.SpeechCreateParams;
import com.openai.models.audio.transcriptions.TranscriptionCreateParams;
import com.openai.models.audio.transcriptions.TranscriptionStreamEvent;
import com.openai.models.audio.translations.TranslationCreateParams;
import com.openai.models.chat.completions.ChatCompletion;
import com.openai.models.chat.completions.ChatCompletionContentPart;
import com.openai.models.chat.completions.ChatCompletionContentPartImage;
import com.openai.models.chat.completions.ChatCompletionContentPartText;
import com.openai.models.chat.completions.ChatCompletionChunk;
import com.openai.models.chat.completions.ChatCompletionCreateParams;
import com.openai.models.chat.completions.ChatCompletionFunctionTool;
import com.openai.models.chat.completions.ChatCompletionMessage;
import com.openai.models.chat.completions.ChatCompletionStreamOptions;
import com.openai.models.chat.completions.ChatCompletionToolChoiceOption;
import com.openai.models.chat.completions.ChatCompletionToolMessageParam;
import com.openai.models.completions.Completion;
import com.openai.models.completions.CompletionCreateParams;
import com.openai.models.completions.CompletionUsage;
import com.openai.models.embeddings.EmbeddingCreateParams;
import com.openai.models.moderations.ModerationCreateParams;
import com.openai.models.realtime.RealtimeClientEvent;
import com.openai.models.realtime.RealtimeResponseCreateParams;
import com.openai.models.realtime.RealtimeServerEvent;
import com.openai.models.realtime.ResponseCreateEvent;
import com.openai.models.responses.Response;
import com.openai.models.responses.ResponseCreateParams;
import com.openai.models.responses.ResponseStreamEvent;
import com.openai.models.responses.ResponsesClientEvent;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;

public final class Driver {
    private interface Verb {
        void perform(JsonNode order, ObjectNode answer) throws IOException;
    }

    /** What the client makes a schema of. */
    public static final class Person {
        public String name;
        public long age;
        public List<String> tags;
    }

    private static final JsonMapper JSON = JsonMapper.builder().build();
    private static final Map<String, OpenAIClient> CLIENTS = new HashMap<>();
    private static final Map<String, Verb> VERBS = Map.ofEntries(
        Map.entry("chat", Driver::chat),
        Map.entry("stream", Driver::stream),
        Map.entry("parallel", Driver::parallel),
        Map.entry("tools", Driver::tools),
        Map.entry("tools-stream", Driver::toolsStream),
        Map.entry("structured", Driver::structured),
        Map.entry("structured-responses", Driver::structuredResponses),
        Map.entry("image", Driver::image),
        Map.entry("embed", Driver::embed),
        Map.entry("speak", Driver::speak),
        Map.entry("transcribe", Driver::transcribe),
        Map.entry("transcribe-stream", Driver::transcribeStream),
        Map.entry("translate", Driver::translate),
        Map.entry("respond", Driver::respond),
        Map.entry("respond-stream", Driver::respondStream),
        Map.entry("respond-socket", Driver::respondSocket),
        Map.entry("realtime", Driver::realtime),
        Map.entry("complete", Driver::complete),
        Map.entry("complete-stream", Driver::completeStream),
        Map.entry("models", Driver::models),
        Map.entry("model", Driver::model),
        Map.entry("moderate", Driver::moderate));

    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode order = JSON.readTree(line);
            ObjectNode answer = JSON.createObjectNode();
            if (order.get("do").asText().equals("about")) {
                about(answer);
            } else {
                perform(order, answer);
            }
            out.println(JSON.writeValueAsString(answer));
        }
        System.exit(0); // without waiting for the threads of idle connections
    }

    private static void about(ObjectNode answer) {
        String version = OpenAIClient.class.getPackage().getImplementationVersion();
        answer.putObject("versions").put("com.openai:openai-java", version);
        answer.putObject("lacks").put("post", "it has no requests of any kind but its own");
        answer.putObject("blind");
    }

    private static void perform(JsonNode order, ObjectNode answer) {
        try {
            VERBS.get(order.get("do").asText()).perform(order, answer);
        } catch (OpenAIServiceException e) {
            failure(answer, e)
                .put("status", e.statusCode())
                .put("code", e.code().orElse(""))
                .put("type", e.type().orElse(""))
                .put("param", e.param().orElse(""))
                .put("request_id", header(e, "x-request-id"))
                .put("retry_after", header(e, "retry-after"));
        } catch (OpenAIException e) {
            failure(answer, e);
        } catch (IOException | RuntimeException e) {
            var text = new StringWriter();
            e.printStackTrace(new PrintWriter(text));
            answer.put("bug", text.toString());
        }
    }

    private static ObjectNode failure(ObjectNode answer, Exception e) {
        return answer.putObject("error")
            .put("class", e.getClass().getSimpleName())
            .put("message", e.getMessage() == null ? e.toString() : e.getMessage());
    }

    private static String header(OpenAIServiceException e, String name) {
        List<String> values = e.headers().values(name);
        return values.isEmpty() ? "" : values.get(0);
    }

    /** The client of an order, one for all with the same settings. */
    private static OpenAIClient by(JsonNode o) {
        String url = o.get("base_url").asText();
        String key = o.get("key").asText();
        int retries = o.get("retries").asInt();
        return CLIENTS.computeIfAbsent(url + " " + key + " " + retries, name ->
            OpenAIOkHttpClient.builder().baseUrl(url).apiKey(key).maxRetries(retries).build());
    }

    private static ChatCompletionCreateParams.Builder asking(JsonNode o) {
        var q = ChatCompletionCreateParams.builder().model(o.get("model").asText());
        o.get("extra").fields().forEachRemaining(e -> q.putAdditionalBodyProperty(e.getKey(), JsonValue.fromJsonNode(e.getValue())));
        return q;
    }

    private static ChatCompletionCreateParams.Builder question(JsonNode o) {
        return asking(o).addUserMessage(o.get("prompt").asText());
    }

    private static void takeUsage(ObjectNode answer, CompletionUsage usage) {
        answer.put("input_tokens", usage.promptTokens()).put("output_tokens", usage.completionTokens());
    }

    private static String text(ChatCompletion r) {
        return r.choices().get(0).message().content().orElse("");
    }

    private static void chat(JsonNode o, ObjectNode answer) {
        var options = RequestOptions.builder();
        if (o.get("leave_ms").asInt() > 0) {
            // Cancelling a future of its async client leaves the request running: its patience ends.
            options.timeout(Duration.ofMillis(o.get("leave_ms").asLong()));
        }
        ChatCompletion r;
        try (var raw = by(o).chat().completions().withRawResponse().create(question(o).build(), options.build())) {
            answer.put("request_id", raw.requestId().orElse(""));
            r = raw.parse();
        }
        answer.put("text", text(r)).put("finish", r.choices().get(0).finishReason().asString());
        takeUsage(answer, r.usage().orElseThrow());
    }

    private static void stream(JsonNode o, ObjectNode answer) {
        var q = question(o);
        if (o.get("usage").asBoolean()) {
            q.streamOptions(ChatCompletionStreamOptions.builder().includeUsage(true).build());
        }
        var text = new StringBuilder();
        int items = 0;
        ArrayNode usageAt = answer.putArray("usage_at");
        try (StreamResponse<ChatCompletionChunk> stream = by(o).chat().completions().createStreaming(q.build())) {
            for (Iterator<ChatCompletionChunk> i = stream.stream().iterator(); i.hasNext();) {
                ChatCompletionChunk chunk = i.next();
                if (chunk.usage().isPresent()) {
                    usageAt.add(items);
                    takeUsage(answer, chunk.usage().get());
                }
                answer.put("items", ++items);
                for (var choice : chunk.choices()) {
                    text.append(choice.delta().content().orElse(""));
                    choice.finishReason().ifPresent(reason -> answer.put("finish", reason.asString()));
                }
                answer.put("text", text.toString());
                if (items == o.get("leave_after").asInt()) {
                    return; // and closes the stream
                }
            }
        }
    }

    private static void parallel(JsonNode o, ObjectNode answer) {
        List<CompletableFuture<ChatCompletion>> all = new ArrayList<>();
        for (JsonNode prompt : o.get("prompts")) {
            all.add(by(o).async().chat().completions().create(asking(o).addUserMessage(prompt.asText()).build()));
        }
        ArrayNode texts = answer.putArray("texts");
        all.forEach(future -> texts.add(text(future.join())));
    }

    private static ChatCompletionCreateParams.Builder questionWithTool(JsonNode o) {
        var parameters = FunctionParameters.builder()
            .putAdditionalProperty("type", JsonValue.from("object"))
            .putAdditionalProperty("properties", JsonValue.from(
                Map.of("city", Map.of("type", "string"), "days", Map.of("type", "integer"))))
            .putAdditionalProperty("required", JsonValue.from(List.of("city", "days")))
            .build();
        var function = FunctionDefinition.builder()
            .name("get_weather").description("The weather of a city").parameters(parameters).build();
        return question(o).addTool(ChatCompletionFunctionTool.builder().function(function).build());
    }

    private static void takeCalls(ObjectNode answer, ChatCompletionMessage message) {
        ArrayNode calls = answer.putArray("calls");
        message.toolCalls().orElse(List.of()).forEach(c -> calls.addObject()
            .put("id", c.asFunction().id())
            .put("name", c.asFunction().function().name())
            .put("arguments", c.asFunction().function().arguments()));
    }

    private static void tools(JsonNode o, ObjectNode answer) {
        var q = questionWithTool(o);
        var service = by(o).chat().completions();
        ChatCompletionMessage message = service.create(q.build()).choices().get(0).message();
        takeCalls(answer, message);
        String id = message.toolCalls().orElseThrow().get(0).asFunction().id();
        q.addMessage(message);
        q.addMessage(ChatCompletionToolMessageParam.builder().toolCallId(id).content("sunny").build());
        answer.put("text", text(service.create(q.build())));
    }

    private static void toolsStream(JsonNode o, ObjectNode answer) {
        var q = questionWithTool(o).toolChoice(ChatCompletionToolChoiceOption.Auto.REQUIRED).build();
        var whole = ChatCompletionAccumulator.create();
        try (StreamResponse<ChatCompletionChunk> stream = by(o).chat().completions().createStreaming(q)) {
            stream.stream().forEach(whole::accumulate);
        }
        var choice = whole.chatCompletion().choices().get(0);
        takeCalls(answer, choice.message());
        answer.put("finish", choice.finishReason().asString());
    }

    private static void structured(JsonNode o, ObjectNode answer) {
        var r = by(o).chat().completions().create(question(o).responseFormat(Person.class).build());
        answer.set("parsed", JSON.valueToTree(r.choices().get(0).message().content().orElseThrow()));
    }

    private static void structuredResponses(JsonNode o, ObjectNode answer) {
        var r = by(o).responses().create(request(o).text(Person.class).build());
        var content = r.output().get(0).message().orElseThrow().content().get(0);
        answer.set("parsed", JSON.valueToTree(content.outputText().orElseThrow()));
    }

    private static void image(JsonNode o, ObjectNode answer) {
        var text = ChatCompletionContentPartText.builder().text(o.get("prompt").asText()).build();
        var url = ChatCompletionContentPartImage.ImageUrl.builder().url(o.get("image").asText()).build();
        var picture = ChatCompletionContentPartImage.builder().imageUrl(url).build();
        var parts = List.of(ChatCompletionContentPart.ofText(text), ChatCompletionContentPart.ofImageUrl(picture));
        var q = asking(o).addUserMessageOfArrayOfContentParts(parts).build();
        answer.put("text", text(by(o).chat().completions().create(q)));
    }

    private static void embed(JsonNode o, ObjectNode answer) {
        var q = EmbeddingCreateParams.builder().model(o.get("model").asText()).inputOfArrayOfStrings(prompts(o));
        if (!o.get("encoding").asText().isEmpty()) {
            q.encodingFormat(EmbeddingCreateParams.EncodingFormat.of(o.get("encoding").asText()));
        }
        if (o.get("dimensions").asInt() > 0) {
            q.dimensions(o.get("dimensions").asLong());
        }
        ArrayNode vectors = answer.putArray("vectors");
        for (var d : by(o).embeddings().create(q.build()).data()) {
            ArrayNode vector = vectors.addArray();
            d.embedding().forEach(vector::add);
        }
    }

    private static List<String> prompts(JsonNode o) {
        List<String> list = new ArrayList<>();
        o.get("prompts").forEach(p -> list.add(p.asText()));
        return list;
    }

    private static void speak(JsonNode o, ObjectNode answer) throws IOException {
        var q = SpeechCreateParams.builder().model(o.get("model").asText()).voice("alloy").input(o.get("prompt").asText());
        try (HttpResponse r = by(o).audio().speech().create(q.build())) {
            answer.put("audio", r.body().readAllBytes());
        }
    }

    private static MultipartField<InputStream> file(JsonNode o) throws IOException {
        InputStream bytes = new ByteArrayInputStream(o.get("audio").binaryValue());
        return MultipartField.<InputStream>builder().value(bytes).filename("sound.mp3").build();
    }

    private static TranscriptionCreateParams transcription(JsonNode o) throws IOException {
        return TranscriptionCreateParams.builder().model(o.get("model").asText()).file(file(o)).build();
    }

    private static void transcribe(JsonNode o, ObjectNode answer) throws IOException {
        answer.put("text", by(o).audio().transcriptions().create(transcription(o)).asTranscription().text());
    }

    private static void transcribeStream(JsonNode o, ObjectNode answer) throws IOException {
        var text = new StringBuilder();
        ArrayNode events = answer.putArray("events");
        try (StreamResponse<TranscriptionStreamEvent> stream = by(o).audio().transcriptions().createStreaming(transcription(o))) {
            stream.stream().forEach(event -> {
                events.add(event._json().orElseThrow().convert(JsonNode.class).get("type").asText());
                event.transcriptTextDelta().ifPresent(delta -> answer.put("text", text.append(delta.delta()).toString()));
            });
        }
    }

    @SuppressWarnings("deprecation") // of OpenAI's; engines have it
    private static void translate(JsonNode o, ObjectNode answer) throws IOException {
        var q = TranslationCreateParams.builder().model(o.get("model").asText()).file(file(o)).build();
        answer.put("text", by(o).audio().translations().create(q).asTranslation().text());
    }

    private static ResponseCreateParams.Builder request(JsonNode o) {
        return ResponseCreateParams.builder().model(o.get("model").asText()).input(o.get("prompt").asText());
    }

    private static void takeResponse(ObjectNode answer, Response r) {
        String text = r.output().stream()
            .flatMap(item -> item.message().stream())
            .flatMap(message -> message.content().stream())
            .flatMap(content -> content.outputText().stream())
            .map(part -> part.text())
            .collect(Collectors.joining());
        answer.put("text", text).put("finish", r.status().orElseThrow().asString());
        answer.put("input_tokens", r.usage().orElseThrow().inputTokens());
        answer.put("output_tokens", r.usage().orElseThrow().outputTokens());
    }

    private static void respond(JsonNode o, ObjectNode answer) {
        takeResponse(answer, by(o).responses().create(request(o).build()));
    }

    private static void respondStream(JsonNode o, ObjectNode answer) {
        var text = new StringBuilder();
        ArrayNode events = answer.putArray("events");
        try (StreamResponse<ResponseStreamEvent> stream = by(o).responses().createStreaming(request(o).build())) {
            stream.stream().forEach(event -> {
                events.add(event._json().orElseThrow().convert(JsonNode.class).get("type").asText());
                event.outputTextDelta().ifPresent(delta -> answer.put("text", text.append(delta.delta()).toString()));
                event.completed().ifPresent(completed -> takeResponse(answer, completed.response()));
            });
        }
    }

    private static void respondSocket(JsonNode o, ObjectNode answer) {
        var event = ResponsesClientEvent.ResponseCreate.builder()
            .model(o.get("model").asText()).input(o.get("prompt").asText()).build();
        try (var connection = by(o).responses().connect()) {
            connection.send(ResponsesClientEvent.ofResponseCreate(event));
            takeResponse(answer, connection.finalResponse());
        }
    }

    private static void realtime(JsonNode o, ObjectNode answer) {
        var settings = ClientOptions.builder()
            .httpClient(OkHttpClient.builder().build())
            .baseUrl(o.get("base_url").asText()).apiKey(o.get("key").asText()).build();
        var options = RealtimeWebSocketOptions.builder().model(o.get("model").asText()).build();
        var ask = RealtimeResponseCreateParams.builder().instructions(o.get("prompt").asText()).build();
        var text = new StringBuilder();
        ArrayNode events = answer.putArray("events");
        try (var connection = RealtimeConnection.connect(settings, options)) {
            connection.send(RealtimeClientEvent.ofResponseCreate(ResponseCreateEvent.builder().response(ask).build()));
            for (boolean done = false; !done;) {
                RealtimeServerEvent event = connection.receive();
                events.add(event._json().orElseThrow().convert(JsonNode.class).get("type").asText());
                event.responseOutputTextDelta().ifPresent(delta -> answer.put("text", text.append(delta.delta()).toString()));
                done = event.responseDone().isPresent();
            }
        }
    }

    private static CompletionCreateParams completion(JsonNode o) {
        var q = CompletionCreateParams.builder().model(o.get("model").asText()).prompt(o.get("prompt").asText());
        if (o.get("max_tokens").asInt() > 0) {
            q.maxTokens(o.get("max_tokens").asLong());
        }
        return q.build();
    }

    private static void complete(JsonNode o, ObjectNode answer) {
        Completion r = by(o).completions().create(completion(o));
        answer.put("text", r.choices().get(0).text()).put("finish", r.choices().get(0).finishReason().asString());
        takeUsage(answer, r.usage().orElseThrow());
    }

    private static void completeStream(JsonNode o, ObjectNode answer) {
        var text = new StringBuilder();
        ArrayNode usageAt = answer.putArray("usage_at");
        try (StreamResponse<Completion> stream = by(o).completions().createStreaming(completion(o))) {
            stream.stream().forEach(chunk -> {
                chunk.usage().ifPresent(usage -> usageAt.add(0));
                var choice = chunk.choices().get(0);
                answer.put("text", text.append(choice.text()).toString());
                if (!choice._finishReason().isNull()) {
                    answer.put("finish", choice.finishReason().asString());
                }
            });
        }
    }

    private static void models(JsonNode o, ObjectNode answer) {
        ArrayNode ids = answer.putArray("ids");
        by(o).models().list().autoPager().forEach(m -> ids.add(m.id()));
    }

    private static void model(JsonNode o, ObjectNode answer) {
        answer.putArray("ids").add(by(o).models().retrieve(o.get("model").asText()).id());
    }

    private static void moderate(JsonNode o, ObjectNode answer) {
        var q = ModerationCreateParams.builder().model(o.get("model").asText()).inputOfStrings(prompts(o)).build();
        ArrayNode flagged = answer.putArray("flagged");
        by(o).moderations().create(q).results().forEach(r -> flagged.add(r.flagged()));
    }
}
