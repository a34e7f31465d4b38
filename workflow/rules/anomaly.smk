# IN   fields/{field}/  dapi.zarr.zip, qc.json, nuclei.tif, measurements.parquet
# OUT  models/anomaly/  weights.safetensors, curve.csv, curve.png, record.json, if a network is fitted
#      models/reference/ (or slides/{slide}/reference/ where nothing is known to be normal),
#      fields/{field}/  anomaly.parquet, anomaly_map.zarr.zip


rule fit_anomaly:
    """Fit the anomaly network to the normal nuclei of the reference."""
    input:
        manifest=out("manifests/models.tsv") if fitted_method() != "frozen" else [],
        qc=fitted_to("qc"),
        dapi=fitted_to("dapi"),
        nuclei=fitted_to("nuclei"),
        measurements=fitted_to("measurements"),
        lists=reference_lists("models"),
        start=FIRST_BACKBONE,
    output:
        weights=out("models/anomaly/weights.safetensors"),
        curve=out("models/anomaly/curve.csv"),
        picture=out("models/anomaly/curve.png"),
        record=out("models/anomaly/record.json"),
    log:
        out("logs/fit_anomaly.log"),
    benchmark:
        out("benchmarks/fit_anomaly.tsv")
    conda:
        "../../envs/fit_anomaly.yaml"
    threads: config["threads"]
    resources:
        **gpu_tag(),
        mem_mb=mem_mb,
        runtime=240,
    params:
        code=code("fit_anomaly"),
        script=script("fit_anomaly"),
        fields=lambda wildcards, input: (
            ["--fields", input.manifest] if input.manifest else []
        ),
        start=lambda wildcards, input: ["--start", input.start] if input.start else [],
        method=fitted_method(),
        network=options("anomaly", "backbone", "steps"),
        seed=config["seed"],
        device=config["device"],
        threads=config["threads"],
        # no output: what was reached stays when the job is killed
        checkpoint=out("models/anomaly/checkpoint.pt"),
    shell:
        "python {params.script} {params.fields:q} --method {params.method} {params.network} {params.start:q}"
        " --seed {params.seed} --device {params.device} --threads {params.threads}"
        " --checkpoint {params.checkpoint:q} --weights {output.weights:q} --curve {output.curve:q}"
        " --picture {output.picture:q} --record {output.record:q} > {log:q} 2>&1"


rule build_reference:
    """Learn what normal nuclei look like, from the reference or from the slide itself."""
    input:
        manifest=out("manifests/{scope}.tsv"),
        qc=lambda wildcards: each("qc", RUN.scope_fields(wildcards.scope)),
        dapi=lambda wildcards: each("dapi", RUN.scope_fields(wildcards.scope)),
        nuclei=lambda wildcards: each("nuclei", RUN.scope_fields(wildcards.scope)),
        measurements=lambda wildcards: each(
            "measurements", RUN.scope_fields(wildcards.scope)
        ),
        lists=lambda wildcards: reference_lists(wildcards.scope),
        network=DESCRIBING_NETWORK,
    output:
        bank=out("{scope}/reference/bank.parquet"),
        calibration=out("{scope}/reference/calibration.parquet"),
        thumbnails=out("{scope}/reference/thumbnails.zarr.zip"),
        signs=out("{scope}/reference/signs.json"),
        record=out("{scope}/reference/record.json"),
        network=(
            out("{scope}/reference/network.safetensors") if DESCRIBING_NETWORK else []
        ),
        windows=out("{scope}/reference/windows.parquet") if RUN.localised else [],
    log:
        out("logs/build_reference/{scope}.log"),
    benchmark:
        out("benchmarks/build_reference/{scope}.tsv")
    conda:
        "../../envs/build_reference.yaml"
    threads: describing_threads()
    resources:
        **gpu_tag(),
        mem_mb=mem_mb,
        runtime=120,
    params:
        code=code("build_reference"),
        script=script("build_reference"),
        seed=config["seed"],
        network=lambda wildcards, input, output: (
            ["--method", describing_method(), "--network", input.network]
            + ["--network-copy", output.network]
            + (
                ["--surroundings", "localised", "--windows", output.windows]
                if output.windows
                else []
            )
            if input.network
            else ["--method", describing_method()]
        ),
        device=describing_flags(),
        trim=lambda wildcards: "" if wildcards.scope == "models" else "--trim",
    shell:
        "python {params.script} --fields {input.manifest:q} --seed {params.seed} {params.network:q}"
        " {params.trim} {params.device} --bank {output.bank:q} --calibration {output.calibration:q}"
        " --thumbnails {output.thumbnails:q} --signs {output.signs:q} --record {output.record:q} > {log:q} 2>&1"


rule score_anomaly:
    """Score how far each nucleus of a field lies from the reference."""
    input:
        dapi=out("fields/{field}/dapi.zarr.zip"),
        qc=out("fields/{field}/qc.json"),
        nuclei=out("fields/{field}/nuclei.tif"),
        measurements=out("fields/{field}/measurements.parquet"),
        model=lambda wildcards: expand(
            "{folder}/{file}",
            folder=RUN.reference_folder(wildcards.field),
            file=RUN.model_files(),
        ),
    output:
        anomaly=out("fields/{field}/anomaly.parquet"),
        map=out("fields/{field}/anomaly_map.zarr.zip"),
    log:
        out("logs/score_anomaly/{field}.log"),
    benchmark:
        out("benchmarks/score_anomaly/{field}.tsv")
    conda:
        "../../envs/score_anomaly.yaml"
    threads: describing_threads()
    resources:
        **gpu_tag(),
        mem_mb=mem_mb,
        runtime=120,
    params:
        code=code("score_anomaly"),
        script=script("score_anomaly"),
        reference=lambda wildcards: RUN.reference_folder(wildcards.field),
        device=describing_flags(),
    shell:
        "python {params.script} --field {wildcards.field} --dapi {input.dapi:q} --qc {input.qc:q}"
        " --nuclei {input.nuclei:q} --reference {params.reference:q}"
        " {params.device} --measurements {input.measurements:q}"
        " --anomaly {output.anomaly:q} --anomaly-map {output.map:q} > {log:q} 2>&1"
