// Command fakegpu is a device plugin that offers devices which are not there, so that nvidia.com/gpu is scheduled for real.
//
//	fakegpu -plugins DIR -devices 2 -unhealthy FILE
//
// A container that gets one finds its name in NVIDIA_VISIBLE_DEVICES. Names that stand in FILE, one a line, are unhealthy.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	resource = "nvidia.com/gpu"
	socket   = "fakegpu.sock"
	poll     = 250 * time.Millisecond
)

type plugin struct {
	api.UnimplementedDevicePluginServer
	count     int
	unhealthy string
}

// devices says what there is, and what of it is well.
func (p *plugin) devices() []*api.Device {
	text, _ := os.ReadFile(p.unhealthy) // no file: all are well
	ill := strings.Fields(string(text))
	devices := make([]*api.Device, p.count)
	for i := range devices {
		devices[i] = &api.Device{ID: fmt.Sprintf("GPU-fake-%d", i), Health: api.Healthy}
		if slices.Contains(ill, devices[i].ID) {
			devices[i].Health = api.Unhealthy
		}
	}
	return devices
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch tells the kubelet of the devices, and again whenever the health of one has changed.
func (p *plugin) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	told := ""
	for {
		response := &api.ListAndWatchResponse{Devices: p.devices()}
		if now := response.String(); now != told {
			if err := stream.Send(response); err != nil {
				return err
			}
			told = now
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-time.After(poll):
		}
	}
}

func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	response := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		names := strings.Join(container.DevicesIds, ",")
		response.ContainerResponses = append(response.ContainerResponses,
			&api.ContainerAllocateResponse{Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": names}})
	}
	return response, nil
}

// serve offers the devices to the kubelet that made this socket, until it is made anew (the kubelet was restarted) or is gone.
func (p *plugin) serve(folder string, kubelet os.FileInfo) error {
	own := filepath.Join(folder, socket)
	_ = os.Remove(own)
	listener, err := net.Listen("unix", own)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, p)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	connection, err := grpc.NewClient("unix://"+filepath.Join(folder, "kubelet.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	soon, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: socket, ResourceName: resource, Options: &api.DevicePluginOptions{}}
	if _, err := api.NewRegistrationClient(connection).Register(soon, request); err != nil {
		return err
	}
	log.Printf("registered %d of %s", p.count, resource)
	for {
		time.Sleep(poll)
		now, err := os.Stat(filepath.Join(folder, "kubelet.sock"))
		if err != nil || !os.SameFile(now, kubelet) || !now.ModTime().Equal(kubelet.ModTime()) {
			return nil
		}
		if _, err := os.Stat(own); err != nil { // a kubelet that starts empties the folder
			return nil
		}
	}
}

func main() {
	folder := flag.String("plugins", "/var/lib/kubelet/device-plugins", "the kubelet's folder of sockets")
	count := flag.Int("devices", 2, "how many devices to offer")
	unhealthy := flag.String("unhealthy", "", "file with the names of devices that are not well")
	flag.Parse()
	offered := &plugin{count: *count, unhealthy: *unhealthy}
	for ; ; time.Sleep(poll) {
		// A socket that the last kubelet left behind answers nothing, and to dial it costs ten seconds: only a living one counts.
		kubelet, err := os.Stat(filepath.Join(*folder, "kubelet.sock"))
		if err != nil {
			continue
		}
		if connection, err := net.DialTimeout("unix", filepath.Join(*folder, "kubelet.sock"), time.Second); err != nil {
			continue
		} else {
			_ = connection.Close()
		}
		if err := offered.serve(*folder, kubelet); err != nil {
			log.Print(err)
		}
	}
}
